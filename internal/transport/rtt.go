package transport

import (
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// smallBody is how long a request's body is that takes no time on any link, in bytes.
const smallBody = 4 << 10

// RTT is a RoundTripper that measures the round-trip time to a server by small requests: from when
// there is a connection, for connecting takes round trips of its own, to the header of the answer.
// It is safe for concurrent use.
type RTT struct {
	Next   http.RoundTripper
	lowest atomic.Int64 // nanoseconds; 0: nothing observed
}

var _ http.RoundTripper = (*RTT)(nil)

// Lowest is the lowest observed round-trip time; 0 before the first answer to a small request.
func (r *RTT) Lowest() time.Duration { return time.Duration(r.lowest.Load()) }

// RoundTrip implements http.RoundTripper.
func (r *RTT) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.ContentLength >= smallBody || req.ContentLength < 0 {
		return r.Next.RoundTrip(req)
	}
	began := time.Now()
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { began = time.Now() }}
	resp, err := r.Next.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	if err == nil {
		r.observe(time.Since(began))
	}
	return resp, err
}

func (r *RTT) observe(took time.Duration) {
	for {
		now := r.lowest.Load()
		if (now > 0 && now <= int64(took)) || r.lowest.CompareAndSwap(now, int64(took)) {
			return
		}
	}
}
