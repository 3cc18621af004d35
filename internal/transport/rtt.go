package transport

import (
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// smallBody is the size of a request's body, in bytes, below which its transfer time does not
// matter on any link.
const smallBody = 4 << 10

// RTT is a RoundTripper that measures the round-trip time to a server by small requests. It
// measures from the time when the connection is open, because connecting takes round trips of its
// own, to the header of the response. It is safe for concurrent use.
type RTT struct {
	Next   http.RoundTripper
	lowest atomic.Int64 // nanoseconds; 0: nothing observed
}

var _ http.RoundTripper = (*RTT)(nil)

// Lowest is the lowest observed round-trip time; 0 before the first response to a small request.
func (r *RTT) Lowest() time.Duration { return time.Duration(r.lowest.Load()) }

// RoundTrip implements http.RoundTripper.
func (r *RTT) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.ContentLength >= smallBody || req.ContentLength < 0 {
		return r.Next.RoundTrip(req)
	}
	start := time.Now()
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { start = time.Now() }}
	resp, err := r.Next.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	if err == nil {
		r.observe(time.Since(start))
	}
	return resp, err
}

func (r *RTT) observe(rtt time.Duration) {
	for {
		lowest := r.lowest.Load()
		if (lowest > 0 && lowest <= int64(rtt)) || r.lowest.CompareAndSwap(lowest, int64(rtt)) {
			return
		}
	}
}
