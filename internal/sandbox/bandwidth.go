package sandbox

import (
	"context"
	"io"
	"net/http"
	"time"

	"golang.org/x/time/rate"
)

const (
	// bandwidthStep is the most that passes a bandwidth at once, in bytes.
	bandwidthStep = 32 << 10
	// burstsPerSecond limits the burst after an idle time to the bytes of a hundredth of a second.
	burstsPerSecond = 100
)

// bandwidth is a rate that all bodies share, in both directions.
type bandwidth struct {
	limiter *rate.Limiter
	step    int // the most that passes at once, in bytes; at most the limiter's burst
}

func newBandwidth(bytesPerSecond int64) *bandwidth {
	burst := max(1, int(bytesPerSecond/burstsPerSecond))
	return &bandwidth{rate.NewLimiter(rate.Limit(bytesPerSecond), burst), min(bandwidthStep, burst)}
}

// wait waits until n more bytes may pass, at most step, or until ctx ends. It calls delayed first
// if it has to wait.
func (b *bandwidth) wait(ctx context.Context, n int, delayed func()) {
	if n == 0 || b.limiter.AllowN(time.Now(), n) {
		return
	}
	delayed()
	_ = b.limiter.WaitN(ctx, n) // an error means that the client is gone
}

// limitedReader is the body of the request r.
type limitedReader struct {
	r       *http.Request
	body    io.Reader
	limit   *bandwidth
	delayed func()
}

func (l *limitedReader) Read(p []byte) (int, error) {
	n, err := l.body.Read(p[:min(len(p), l.limit.step)])
	l.limit.wait(l.r.Context(), n, l.delayed)
	return n, err
}

// limitedWriter is the body of the response to r.
type limitedWriter struct {
	r       *http.Request
	w       io.Writer
	limit   *bandwidth
	delayed func()
}

func (l *limitedWriter) Write(p []byte) (written int, err error) {
	for len(p) > 0 && err == nil {
		part := p[:min(len(p), l.limit.step)]
		l.limit.wait(l.r.Context(), len(part), l.delayed)
		var n int
		n, err = l.w.Write(part)
		written += n
		p = p[len(part):]
	}
	return written, err
}
