package transport

import (
	"context"
	"io"
	"net/http"

	"golang.org/x/time/rate"
)

// Limit is a RoundTripper whose bodies, in both directions together, are limited to Rate, in bytes
// a second. Headers do not count. Many Limits may share one limiter. It is safe for concurrent use.
type Limit struct {
	Next http.RoundTripper
	Rate *rate.Limiter // its burst bounds the bytes of one Read
}

var _ http.RoundTripper = (*Limit)(nil)

// RoundTrip implements http.RoundTripper.
func (l *Limit) RoundTrip(req *http.Request) (*http.Response, error) {
	b := &bucket{ctx: req.Context(), rate: l.Rate}
	resp, err := l.Next.RoundTrip(withBody(req.Context(), req, b.body))
	if err != nil {
		return nil, err
	}
	resp.Body = b.body(resp.Body)
	return resp, nil
}

// bucket is the token bucket of the bodies of one call.
type bucket struct {
	ctx  context.Context // of the call: its end ends the waiting
	rate *rate.Limiter
}

func (b *bucket) body(body io.ReadCloser) io.ReadCloser {
	return &limitedBody{ReadCloser: body, bucket: b}
}

type limitedBody struct {
	io.ReadCloser
	bucket *bucket
}

// Read waits after it has read, because only then the number of bytes is known.
func (l *limitedBody) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p[:min(len(p), l.bucket.rate.Burst())])
	if n > 0 {
		if waitErr := l.bucket.rate.WaitN(l.bucket.ctx, n); waitErr != nil && err == nil {
			err = waitErr
		}
	}
	return n, err
}
