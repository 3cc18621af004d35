package flow

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/transferd/transferd/internal/transfer"
)

// Policy says how long a job goes on trying. Each limit is how long the same operation may go on
// failing, counted from its first failure; between tries the wait grows from Base to Cap with full
// jitter, and is never less than what the other side asked for.
type Policy struct {
	Base, Cap time.Duration
	Open      time.Duration // an endpoint that has never answered this job and cannot be reached
	Call      time.Duration // a call that times out, is cut or meets a server's failure
	Busy      time.Duration // a drive that answers 409
	Young     time.Duration // a drive just created that parts of the endpoint do not know yet (404)
}

// DefaultPolicy outlasts an endpoint that is away for minutes in the middle of a transfer, but fails
// soon if there never was one.
var DefaultPolicy = Policy{
	Base: 200 * time.Millisecond, Cap: 15 * time.Second,
	Open: 15 * time.Second, Call: 10 * time.Minute, Busy: 10 * time.Minute, Young: 2 * time.Minute,
}

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
	// OnFailure is called for each failure with the verdict, before the wait, or before Run gives up.
	OnFailure func(err error, wait time.Duration)
}

// Run calls op until it stops failing with the verdict, or has failed for too long. err is the
// failure that op has returned already.
func (r *Retry) Run(ctx context.Context, err error, op func() error) error {
	started, tries := time.Now(), 1
	pause := backoff.NewExponentialBackOff()
	// A factor of 1 spreads each wait over 0 to twice its length: clients that failed together do not
	// return together.
	pause.InitialInterval, pause.MaxInterval, pause.RandomizationFactor = r.Policy.Base, r.Policy.Cap, 1
	for err != nil && transfer.CodeOf(err).Retry() == r.Verdict {
		wait := retryAfter(err) + pause.NextBackOff()
		r.OnFailure(err, wait)
		if failing := time.Since(started); failing+wait > r.Policy.limit(transfer.CodeOf(err), r.Reached) {
			return gaveUp(err, tries, failing)
		}
		if err := Wait(ctx, r.Drain, wait); err != nil {
			return err
		}
		err = op()
		tries++
	}
	return err
}

func retryAfter(err error) time.Duration {
	var e *transfer.Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

func gaveUp(err error, tries int, failing time.Duration) error {
	e := &transfer.Error{
		Code: transfer.CodeOf(err),
		Err:  fmt.Errorf("gave up after %d tries in %s: %w", tries, failing.Round(time.Second), err),
	}
	var cause *transfer.Error
	if errors.As(err, &cause) {
		e.Hint = cause.Hint
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
