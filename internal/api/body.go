package api

import (
	"context"
	"io"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/transferd/transferd/internal/transfer"
)

// patience is how long a call may stand still. There is no limit to a call as a whole: a slow one that moves is healthy.
type patience struct {
	period time.Duration // each period has to bring
	bytes  int64         // that many bytes, or the call is given up
	answer time.Duration // how long the answer may take to begin when all has been sent
}

var defaultPatience = patience{period: time.Minute, bytes: 64 << 10, answer: 2 * time.Minute}

// watch ends a call that stands still. Each byte moved goes through moved.
type watch struct {
	ctx      context.Context
	cancel   context.CancelCauseFunc
	patience patience
	mu       sync.Mutex
	timer    *time.Timer
	moving   bool  // bytes are to be expected
	n        int64 // moved in this period
}

func newWatch(ctx context.Context, p patience) *watch {
	w := &watch{patience: p}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.timer = time.AfterFunc(p.answer, w.expired)
	return w
}

// moved notes that n bytes went by; 0 at the end of a body.
func (w *watch) moved(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n += int64(n)
	switch {
	case n > 0 && !w.moving:
		w.moving = true
		w.timer.Reset(w.patience.period)
	case n == 0:
		w.moving, w.n = false, 0
		w.timer.Reset(w.patience.answer)
	}
}

func (w *watch) expired() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.moving && w.n >= w.patience.bytes {
		w.n = 0
		w.timer.Reset(w.patience.period)
		return
	}
	w.cancel(transfer.Errorf(transfer.CodeTimeout, "the network or the endpoint stands still", "no progress"))
}

func (w *watch) stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// sending knows when the transport has let go of a request's bodies; a retried connection may open several.
type sending struct{ open sync.WaitGroup }

func (s *sending) add(r *meteredReader) io.ReadCloser {
	s.open.Add(1)
	return &sentBody{meteredReader: r, done: sync.OnceFunc(s.open.Done)}
}

func (s *sending) wait() { s.open.Wait() }

type sentBody struct {
	*meteredReader
	done func()
}

func (b *sentBody) Close() error {
	b.done()
	return nil
}

// meteredReader counts and slows what goes through it, and tells the watch.
type meteredReader struct {
	r      io.Reader
	client *Client
	ctx    context.Context // of the call
	watch  *watch
	out    bool // a request's body
}

func (m *meteredReader) Read(p []byte) (int, error) {
	limit := m.client.limit
	if limit != nil {
		p = p[:min(len(p), limit.Burst())]
	}
	n, err := m.r.Read(p)
	m.watch.moved(n)
	if meter := m.client.meter; meter != nil && n > 0 {
		if m.out {
			meter.AddWireOut(int64(n))
		} else {
			meter.AddWireIn(int64(n))
		}
	}
	if limit != nil && n > 0 {
		if werr := waitN(m.ctx, limit, n); werr != nil && err == nil {
			err = werr
		}
	}
	return n, err
}

func waitN(ctx context.Context, l *rate.Limiter, n int) error { return l.WaitN(ctx, n) }
