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

// Timeouts is how long a call may go without progress. A call as a whole has no limit: a slow one
// that makes progress is healthy.
type Timeouts struct {
	Period   time.Duration // while a body is transferred, each period must bring
	Bytes    int64         // at least that many bytes
	Response time.Duration // how long the response may take to begin after the request was sent
}

// DefaultTimeouts is for calls over any network.
var DefaultTimeouts = Timeouts{Period: time.Minute, Bytes: 64 << 10, Response: 2 * time.Minute}

// Watchdog is a RoundTripper that ends a stalled call with CodeTimeout. It is safe for concurrent
// use.
//
// The clock runs only while the call waits for the network or the server. It stops while the
// request's body is read, because the call then waits for a layer above the watchdog, such as a
// rate limit. It also stops between two Reads of the response's body, because the call then waits
// for its caller.
type Watchdog struct {
	Next     http.RoundTripper
	Timeouts Timeouts
}

var _ http.RoundTripper = (*Watchdog)(nil)

// RoundTrip implements http.RoundTripper.
func (d *Watchdog) RoundTrip(req *http.Request) (*http.Response, error) {
	w := newWatch(req.Context(), d.Timeouts)
	resp, err := d.Next.RoundTrip(withBody(w.ctx, req, w.watchRequest))
	if err != nil {
		err = w.reason(err)
		w.stop()
		return nil, err
	}
	w.hold()
	resp.Body = &watchedResponse{ReadCloser: resp.Body, watch: w}
	return resp, nil
}

// watchedRequest is a request's body: the clock stops while it is read.
type watchedRequest struct {
	io.ReadCloser
	watch *watch
}

func (w *watch) watchRequest(body io.ReadCloser) io.ReadCloser {
	return &watchedRequest{ReadCloser: body, watch: w}
}

func (b *watchedRequest) Read(p []byte) (int, error) {
	b.watch.hold()
	defer b.watch.release()
	n, err := b.ReadCloser.Read(p)
	b.watch.observe(n, err)
	return n, err
}

// watchedResponse is a response's body: the clock runs while it is read.
type watchedResponse struct {
	io.ReadCloser
	watch *watch
}

func (b *watchedResponse) Read(p []byte) (int, error) {
	b.watch.release()
	defer b.watch.hold()
	n, err := b.ReadCloser.Read(p)
	b.watch.observe(n, err)
	if err != nil && !errors.Is(err, io.EOF) {
		err = b.watch.reason(err)
	}
	return n, err
}

func (b *watchedResponse) Close() error {
	defer b.watch.stop()
	return b.ReadCloser.Close()
}

// errNoProgress is in the chain of every error that a watch ends a call with.
var errNoProgress = errors.New("no progress")

func errStalled() error {
	return transfer.Errorf(transfer.CodeTimeout,
		"the network or the server has stalled: check both", "%w", errNoProgress)
}

// watch ends the context of one call when the call stalls. It is safe for concurrent use.
//
// When due moves to a later time, the timer stays as it is. It fires too early then, and is set
// again. So a piece of a body costs two readings of the clock and no timer.
type watch struct {
	ctx      context.Context // of the call
	cancel   context.CancelCauseFunc
	timeouts Timeouts

	mu           sync.Mutex
	timer        *time.Timer
	fires        time.Time     // when the timer does; zero: it is not set
	due          time.Time     // when the call ends if it makes no progress, unless held
	remaining    time.Duration // until due, while held
	held         int           // holds that were not released
	transferring bool          // a body has begun and not ended
	n            int64         // bytes transferred in this period
}

// newWatch watches a call that begins now and ends with ctx at the latest. The caller must call
// stop at the end.
func newWatch(ctx context.Context, limits Timeouts) *watch {
	due := time.Now().Add(limits.Response)
	w := &watch{timeouts: limits, due: due, fires: due}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.mu.Lock() // expired reads timer
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(limits.Response, panics.Func(w.expired, w.cancel))
	return w
}

// observe records what a Read of a body returned.
func (w *watch) observe(n int, err error) {
	if n > 0 {
		w.progress(n)
	}
	if err != nil {
		w.progress(0)
	}
}

// progress records that n bytes of a body were transferred; 0 at its end.
func (w *watch) progress(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n += int64(n)
	switch {
	case n > 0 && !w.transferring:
		w.transferring = true
		w.extend(w.timeouts.Period)
	case n == 0:
		w.transferring, w.n = false, 0
		w.extend(w.timeouts.Response)
	}
}

// hold stops the clock until release. Holds nest.
func (w *watch) hold() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held++; w.held == 1 {
		w.remaining = time.Until(w.due)
	}
}

// release ends one hold.
func (w *watch) release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held--; w.held == 0 {
		w.extend(w.remaining)
	}
}

// extend lets the call continue without progress for d from now.
func (w *watch) extend(d time.Duration) {
	if w.held > 0 {
		w.remaining = d
		return
	}
	w.due = time.Now().Add(d)
	if w.fires.IsZero() || w.due.Before(w.fires) {
		w.setTimer(d)
	}
}

func (w *watch) setTimer(d time.Duration) {
	w.fires = w.due
	w.timer.Reset(d)
}

// expired is called when the timer fires.
func (w *watch) expired() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fires = time.Time{}
	if w.held > 0 {
		return // release sets the timer
	}
	switch early := time.Until(w.due); {
	case early > 0:
		w.setTimer(early)
	case w.transferring && w.n >= w.timeouts.Bytes:
		w.n = 0
		w.extend(w.timeouts.Period)
	default:
		w.cancel(errStalled())
	}
}

// reason is err or, if the watch has ended the call, the error that it ended it with.
func (w *watch) reason(err error) error {
	if cause := context.Cause(w.ctx); errors.Is(cause, errNoProgress) || panics.Of(cause) != nil {
		return cause
	}
	return err
}

// stop ends the watch, and with it the call's context.
func (w *watch) stop() {
	w.mu.Lock()
	w.held++ // never released: a body that is still read sets no timer
	w.mu.Unlock()
	w.timer.Stop()
	w.cancel(nil)
}
