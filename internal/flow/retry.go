package flow

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/transferd/transferd/internal/transfer"
)

// Policy says how long a job retries. Each limit is how long one operation may keep failing,
// counted from its first failure. The wait between two tries grows from Base to Cap, with full
// jitter. Waits that the other side asks for (Retry-After) do not count towards these limits;
// RequestedWait limits them.
type Policy struct {
	Base, Cap     time.Duration
	Connect       time.Duration // an endpoint that has not responded to this job yet and cannot be reached
	Call          time.Duration // a call that times out, is cut or meets a server error
	Busy          time.Duration // a drive that responds with 409
	NotYetVisible time.Duration // a new drive that parts of the endpoint do not know yet (404)
	RequestedWait time.Duration // sum of the waits that endpoints ask one job for; 0: no limit
}

// DefaultPolicy survives an endpoint that is unreachable for minutes during a transfer, but fails
// soon if the endpoint has never responded.
var DefaultPolicy = Policy{
	Base: 200 * time.Millisecond, Cap: 15 * time.Second,
	Connect: 15 * time.Second, Call: 10 * time.Minute, Busy: 10 * time.Minute, NotYetVisible: 2 * time.Minute,
	RequestedWait: 24 * time.Hour,
}

// LongWait is the shortest wait that is shown to users, and that a stopping worker cuts short.
const LongWait = 10 * time.Second

// limit returns how long an operation may keep failing with code. reached says that the endpoint
// has responded to this job before.
func (p *Policy) limit(code transfer.Code, reached bool) time.Duration {
	switch {
	case code.Retry() == transfer.RetryDrive:
		return p.Busy
	case code == transfer.CodeUnreachable && !reached:
		return p.Connect
	}
	return p.Call
}

// ErrDrained is the error of an operation that stopped waiting because its worker stops.
var ErrDrained = transfer.Errorf(
	transfer.CodeDrained, "the job resumes when a worker runs it again", "the worker is stopping")

// Retry repeats one operation.
type Retry struct {
	Policy  *Policy
	Verdict transfer.Retry  // a failure with another verdict ends the loop
	Reached bool            // the endpoint has responded to this job before
	Drain   <-chan struct{} // ends the waits when it closes; nil: nothing does
	// InFlight says that the operation is part of a chunk in flight, which a stopping worker
	// finishes: Drain ends only waits of at least LongWait that the other side asked for.
	InFlight      bool
	RequestedWait *RequestedWait // sum of the waits that endpoints asked the job for; nil: not counted
	// OnFailure is called for each failure with the verdict, before the wait or before Run gives
	// up.
	OnFailure func(err error, p Pause)
}

// Pause is a wait between two tries.
type Pause struct {
	Since   time.Time // of the first failure
	Until   time.Time // when the operation is tried again
	GivesUp time.Time // when the tries end, unless the other side asks for more waits
}

// Run calls op until it succeeds, fails with another verdict, or has failed for too long. err is
// the error of a first call that the caller has made already.
func (r *Retry) Run(ctx context.Context, err error, op func() error) error {
	started, tries, requested := time.Now(), 1, time.Duration(0)
	pause := backoff.NewExponentialBackOff()
	// A factor of 1 spreads each wait over 0 to twice its length, so that clients which failed
	// together do not retry together.
	pause.InitialInterval, pause.MaxInterval, pause.RandomizationFactor = r.Policy.Base, r.Policy.Cap, 1
	for err != nil && transfer.CodeOf(err).Retry() == r.Verdict && !GaveUp(err) {
		ask, wait := retryAfter(err), pause.NextBackOff()
		if ask >= r.Policy.Cap {
			ask, wait = ask+wait, 0 // the jitter is a small part of so long a wait
		}
		now, limit := time.Now(), r.Policy.limit(transfer.CodeOf(err), r.Reached)
		r.OnFailure(err, Pause{
			Since: started, Until: now.Add(ask + wait), GivesUp: started.Add(limit + requested + ask),
		})
		failing := now.Sub(started)
		if failing-requested+wait > limit || !r.RequestedWait.add(now, ask, r.Policy.RequestedWait) {
			return gaveUp(err, tries, failing)
		}
		requested += ask
		if err := Wait(ctx, r.drain(ask), ask+wait); err != nil {
			return err
		}
		err = op()
		tries++
	}
	return err
}

func (r *Retry) drain(requested time.Duration) <-chan struct{} {
	if r.InFlight && requested < LongWait {
		return nil
	}
	return r.Drain
}

// RequestedWait is the sum of the waits that endpoints ask a job for. Time that several calls wait
// together counts once. It is safe for concurrent use. A nil RequestedWait counts nothing.
type RequestedWait struct {
	mu    sync.Mutex
	total time.Duration
	end   time.Time // of the wait that ends last
}

// Restore sets the sum of earlier attempts of the job.
func (w *RequestedWait) Restore(total time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.total = total
}

// Total returns the sum, which includes waits that have just begun.
func (w *RequestedWait) Total() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.total
}

// add counts a wait of d from now on. It returns false, and counts nothing, if the sum would exceed
// limit; 0: there is no limit.
func (w *RequestedWait) add(now time.Time, d, limit time.Duration) bool {
	if w == nil || d == 0 {
		return true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	end := now.Add(d)
	if w.end.After(now) {
		d = max(0, end.Sub(w.end))
	}
	if limit > 0 && w.total+d > limit {
		return false
	}
	w.total += d
	if end.After(w.end) {
		w.end = end
	}
	return true
}

func retryAfter(err error) time.Duration {
	var e *transfer.Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

var errGaveUp = errors.New("gave up")

// GaveUp reports whether err is from an operation that was retried for as long as the policy
// allows. An operation that contains it does not retry it again.
func GaveUp(err error) bool { return errors.Is(err, errGaveUp) }

func gaveUp(err error, tries int, failing time.Duration) error {
	e := &transfer.Error{
		Code: transfer.CodeOf(err),
		Err: fmt.Errorf("%w after %s in %s: %w",
			errGaveUp, transfer.Count(tries, "try"), transfer.FormatDuration(failing.Round(time.Second)), err),
	}
	var cause *transfer.Error
	if errors.As(err, &cause) {
		e.Hint = cause.Hint
	}
	if ask := retryAfter(err); ask > 0 && e.Hint == "" {
		e.Hint = fmt.Sprintf(
			"the endpoint asks for a wait of %s: retry the job after that, or set a --deadline to wait longer", ask)
	}
	return e
}

// Wait waits for d. It ends early with ErrDrained when drain closes, and with ctx's error when ctx
// ends.
func Wait(ctx context.Context, drain <-chan struct{}, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-drain:
		return ErrDrained
	case <-ctx.Done():
		return ctx.Err()
	}
}
