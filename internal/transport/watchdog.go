package transport

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/transfer"
)

// Patience is how long a call may stand still. A call as a whole has no limit: a slow one that
// moves is healthy.
type Patience struct {
	Period time.Duration // each period has to bring
	Bytes  int64         // that many bytes, or the call is given up
	Answer time.Duration // how long the answer may take to begin when all has been sent
}

// DefaultPatience is for calls over any network.
var DefaultPatience = Patience{Period: time.Minute, Bytes: 64 << 10, Answer: 2 * time.Minute}

// Watchdog is a RoundTripper that ends a call which stands still, with CodeTimeout. It is safe for
// concurrent use.
//
// The clock runs only while the call waits for the network or the server. It stands while a body of
// the request is read, for then the call waits for what is above the watchdog, such as a rate
// limit, and while no Read of the answer's body is under way, for then it waits for the caller.
type Watchdog struct {
	Next     http.RoundTripper
	Patience Patience
}

var _ http.RoundTripper = (*Watchdog)(nil)

// RoundTrip implements http.RoundTripper.
func (d *Watchdog) RoundTrip(req *http.Request) (*http.Response, error) {
	w := newWatch(req.Context(), d.Patience)
	resp, err := d.Next.RoundTrip(withBody(w.ctx, req, w.sent))
	if err != nil {
		err = w.explain(err)
		w.stop()
		return nil, err
	}
	w.hold()
	resp.Body = &watchedAnswer{ReadCloser: resp.Body, watch: w}
	return resp, nil
}

// watchedRequest is a request's body: the clock stands while it is read.
type watchedRequest struct {
	io.ReadCloser
	watch *watch
}

func (w *watch) sent(body io.ReadCloser) io.ReadCloser {
	return &watchedRequest{ReadCloser: body, watch: w}
}

func (b *watchedRequest) Read(p []byte) (int, error) {
	b.watch.hold()
	defer b.watch.release()
	n, err := b.ReadCloser.Read(p)
	b.watch.read(n, err)
	return n, err
}

// watchedAnswer is an answer's body: the clock runs while it is read.
type watchedAnswer struct {
	io.ReadCloser
	watch *watch
}

func (b *watchedAnswer) Read(p []byte) (int, error) {
	b.watch.release()
	defer b.watch.hold()
	n, err := b.ReadCloser.Read(p)
	b.watch.read(n, err)
	if err != nil && !errors.Is(err, io.EOF) {
		err = b.watch.explain(err)
	}
	return n, err
}

func (b *watchedAnswer) Close() error {
	defer b.watch.stop()
	return b.ReadCloser.Close()
}

// errNoProgress is in the chain of every error with which a watch ends a call.
var errNoProgress = errors.New("no progress")

func standsStill() error {
	return transfer.Errorf(transfer.CodeTimeout, "the network or the other side stands still", "%w", errNoProgress)
}

// watch ends the context of one call when the call stands still. It is safe for concurrent use.
//
// The timer is not set again when due moves to later, but when it fires too early, so that a piece
// of a body costs two looks at the clock and no timer.
type watch struct {
	ctx      context.Context // of the call
	cancel   context.CancelCauseFunc
	patience Patience

	mu     sync.Mutex
	timer  *time.Timer
	fires  time.Time     // when the timer does; zero: it is not set
	due    time.Time     // when the call is given up if it does not move, unless held
	left   time.Duration // until then, while held
	held   int           // holds that were not released
	moving bool          // a body has begun and not ended
	n      int64         // bytes moved in this period
}

// newWatch watches a call that begins now and ends with ctx at the latest. stop must be called in
// the end.
func newWatch(ctx context.Context, p Patience) *watch {
	due := time.Now().Add(p.Answer)
	w := &watch{patience: p, due: due, fires: due}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.mu.Lock() // expired reads timer
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(p.Answer, panics.Func(w.expired, w.cancel))
	return w
}

// read notes what a Read of a body returned.
func (w *watch) read(n int, err error) {
	if n > 0 {
		w.moved(n)
	}
	if err != nil {
		w.moved(0)
	}
}

// moved notes that n bytes of a body went by; 0 at its end.
func (w *watch) moved(n int) {
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

// hold stops the clock until release. Holds nest.
func (w *watch) hold() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held++; w.held == 1 {
		w.left = time.Until(w.due)
	}
}

// release takes a hold back.
func (w *watch) release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held--; w.held == 0 {
		w.await(w.left)
	}
}

// await gives the call d from now.
func (w *watch) await(d time.Duration) {
	if w.held > 0 {
		w.left = d
		return
	}
	w.due = time.Now().Add(d)
	if w.fires.IsZero() || w.due.Before(w.fires) {
		w.set(d)
	}
}

func (w *watch) set(d time.Duration) {
	w.fires = w.due
	w.timer.Reset(d)
}

// expired is called when the timer fires.
func (w *watch) expired() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fires = time.Time{}
	if w.held > 0 {
		return // release sets it
	}
	switch early := time.Until(w.due); {
	case early > 0:
		w.set(early)
	case w.moving && w.n >= w.patience.Bytes:
		w.n = 0
		w.await(w.patience.Period)
	default:
		w.cancel(standsStill())
	}
}

// explain is err, or, if the watch has ended the call, why.
func (w *watch) explain(err error) error {
	if cause := context.Cause(w.ctx); errors.Is(cause, errNoProgress) || panics.Of(cause) != nil {
		return cause
	}
	return err
}

// stop ends the watch, and with it the call's context.
func (w *watch) stop() {
	w.mu.Lock()
	w.held++ // for good: a body that is still read sets no timer
	w.mu.Unlock()
	w.timer.Stop()
	w.cancel(nil)
}
