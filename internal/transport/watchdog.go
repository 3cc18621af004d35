// Package transport ends calls that stand still. A call as a whole has no limit: a slow one that
// moves is healthy.
package transport

import (
	"context"
	"sync"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// Patience is how long a call may stand still.
type Patience struct {
	Period time.Duration // each period has to bring
	Bytes  int64         // that many bytes, or the call is given up
	Answer time.Duration // how long the answer may take to begin when all has been sent
}

// DefaultPatience is for calls over any network.
var DefaultPatience = Patience{Period: time.Minute, Bytes: 64 << 10, Answer: 2 * time.Minute}

// Watch ends a call that stands still: its context ends with CodeTimeout as the cause. It is safe
// for concurrent use.
type Watch struct {
	ctx      context.Context
	cancel   context.CancelCauseFunc
	patience Patience
	mu       sync.Mutex
	timer    *time.Timer
	due      time.Time     // when the timer fires
	left     time.Duration // until it would, while somebody holds it
	held     int           // by how many
	moving   bool          // bytes are to be expected
	n        int64         // moved in this period
}

// NewWatch watches a call that begins now and ends with ctx at the latest. Stop has to be called in
// the end.
func NewWatch(ctx context.Context, p Patience) *Watch {
	w := &Watch{patience: p, due: time.Now().Add(p.Answer)}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.timer = time.AfterFunc(p.Answer, w.expired)
	return w
}

// Context is that of the call.
func (w *Watch) Context() context.Context { return w.ctx }

// Moved notes that n bytes of a body went by; 0 at its end.
func (w *Watch) Moved(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n += int64(n)
	switch {
	case n > 0 && !w.moving:
		w.moving = true
		w.await(w.patience.Period)
	case n == 0:
		w.moving, w.n = false, 0
		w.await(w.patience.Answer)
	}
}

// Hold stops the clock until Release: it is not the other side that is waited for. Several may hold
// it at once.
func (w *Watch) Hold() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held++; w.held == 1 {
		w.timer.Stop()
		w.left = time.Until(w.due)
	}
}

// Release takes a Hold back.
func (w *Watch) Release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held--; w.held == 0 {
		w.await(w.left)
	}
}

func (w *Watch) await(d time.Duration) {
	if w.held > 0 {
		w.left = d
		return
	}
	w.due = time.Now().Add(d)
	w.timer.Reset(d)
}

func (w *Watch) expired() {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.held > 0 || time.Now().Before(w.due): // it was set anew while it fired
		return
	case w.moving && w.n >= w.patience.Bytes:
		w.n = 0
		w.await(w.patience.Period)
		return
	}
	w.cancel(transfer.Errorf(transfer.CodeTimeout, "the network or the other side stands still", "no progress"))
}

// Stop ends the watch, and with it the call's context.
func (w *Watch) Stop() {
	w.timer.Stop()
	w.cancel(nil)
}
