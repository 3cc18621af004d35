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

// Policy says how long a job goes on trying. Each limit is how long the same operation may go on
// failing, counted from its first failure; between tries the wait grows from Base to Cap with full
// jitter. Waits that the other side asked for come on top, and have a limit of their own.
type Policy struct {
	Base, Cap time.Duration
	Open      time.Duration // an endpoint that has never answered this job and cannot be reached
	Call      time.Duration // a call that times out, is cut or meets a server's failure
	Busy      time.Duration // a drive that answers 409
	Young     time.Duration // a drive just created that parts of the endpoint do not know yet (404)
	Asked     time.Duration // waits that endpoints ask for, all of one job together; 0: no limit of their own
}

// DefaultPolicy outlasts an endpoint that is away for minutes in the middle of a transfer, but fails
// soon if there never was one.
var DefaultPolicy = Policy{
	Base: 200 * time.Millisecond, Cap: 15 * time.Second,
	Open: 15 * time.Second, Call: 10 * time.Minute, Busy: 10 * time.Minute, Young: 2 * time.Minute,
	Asked: 24 * time.Hour,
}

// LongWait is how long a wait takes at least that users are told of, and that a worker which stops
// does not wait for.
const LongWait = 10 * time.Second

// limit is how long an operation may go on failing with code. reached says that the endpoint has
// answered this job before.
func (p *Policy) limit(code transfer.Code, reached bool) time.Duration {
	switch {
	case code.Retry() == transfer.RetryDrive:
		return p.Busy
	case code == transfer.CodeUnreachable && !reached:
		return p.Open
	}
	return p.Call
}

// ErrDrained is the error of an operation that stopped waiting because its worker stops.
var ErrDrained = transfer.Errorf(
	transfer.CodeDrained, "the job goes on when a worker takes it up again", "the worker is stopping")

// Retry tries one operation again.
type Retry struct {
	Policy  *Policy
	Verdict transfer.Retry  // failures with another verdict end the loop
	Reached bool            // the endpoint has answered this job before
	Drain   <-chan struct{} // ends the waits when it closes; nil: nothing does
	Finish  bool            // only waits longer than LongWait that were asked for end with Drain
	Asked   *Asked          // what endpoints have asked the job to wait
	// OnFailure is called for each failure with the verdict, before the wait, or before Run gives
	// up.
	OnFailure func(err error, p Pause)
}

// Pause is a wait between two tries.
type Pause struct {
	Since   time.Time // of the first failure
	Until   time.Time // when the operation is tried again
	GivesUp time.Time // when it is given up at the latest, if nothing more is asked for
}

// Run calls op until it stops failing with the verdict, or has failed for too long. err is the
// failure that op has returned already.
func (r *Retry) Run(ctx context.Context, err error, op func() error) error {
	started, tries, asked := time.Now(), 1, time.Duration(0)
	pause := backoff.NewExponentialBackOff()
	// A factor of 1 spreads each wait over 0 to twice its length: clients that failed together do not
	// return together.
	pause.InitialInterval, pause.MaxInterval, pause.RandomizationFactor = r.Policy.Base, r.Policy.Cap, 1
	for err != nil && transfer.CodeOf(err).Retry() == r.Verdict && !GaveUp(err) {
		ask, wait := retryAfter(err), pause.NextBackOff()
		if ask >= r.Policy.Cap {
			ask, wait = ask+wait, 0 // what spreads the tries is part of so long a wait
		}
		now, limit := time.Now(), r.Policy.limit(transfer.CodeOf(err), r.Reached)
		r.OnFailure(err, Pause{Since: started, Until: now.Add(ask + wait), GivesUp: started.Add(limit + asked + ask)})
		if failing := now.Sub(started); failing-asked+wait > limit || !r.Asked.add(now, ask, r.Policy.Asked) {
			return gaveUp(err, tries, failing)
		}
		asked += ask
		if err := Wait(ctx, r.drain(ask), ask+wait); err != nil {
			return err
		}
		err = op()
		tries++
	}
	return err
}

func (r *Retry) drain(asked time.Duration) <-chan struct{} {
	if r.Finish && asked < LongWait {
		return nil
	}
	return r.Drain
}

// Asked adds up how long endpoints have asked a job to wait; time that several calls wait together
// counts once. It is safe for concurrent use, and a nil one counts nothing.
type Asked struct {
	mu    sync.Mutex
	total time.Duration
	end   time.Time // of the wait that ends last
}

// Start sets what earlier attempts of the job were asked to wait.
func (a *Asked) Start(total time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.total = total
}

// Total is how long the job was asked to wait, waits included that have just begun.
func (a *Asked) Total() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.total
}

// add counts a wait of d from now on, unless that makes more than limit in all; 0: there is no
// limit.
func (a *Asked) add(now time.Time, d, limit time.Duration) bool {
	if a == nil || d == 0 {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	end := now.Add(d)
	if a.end.After(now) {
		d = max(0, end.Sub(a.end))
	}
	if limit > 0 && a.total+d > limit {
		return false
	}
	a.total += d
	if end.After(a.end) {
		a.end = end
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

// GaveUp reports whether err is of an operation that was tried for as long as the policy allows.
// One operation within another is not tried for longer.
func GaveUp(err error) bool { return errors.Is(err, errGaveUp) }

func gaveUp(err error, tries int, failing time.Duration) error {
	e := &transfer.Error{
		Code: transfer.CodeOf(err),
		Err:  fmt.Errorf("%w after %d tries in %s: %w", errGaveUp, tries, failing.Round(time.Second), err),
	}
	var cause *transfer.Error
	if errors.As(err, &cause) {
		e.Hint = cause.Hint
	}
	if ask := retryAfter(err); ask > 0 && e.Hint == "" {
		e.Hint = fmt.Sprintf(
			"it asks to be left alone for %s: retry the job after that, or give it a --deadline to wait longer", ask)
	}
	return e
}

// Wait waits for d. It ends early with ErrDrained when drain closes, and with ctx's error when ctx ends.
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
