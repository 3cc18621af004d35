package worker

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/flow"
	"github.com/transferd/transferd/internal/transfer"
)

// Policy says how patient a job is. Each limit is how long the same thing may go on failing, counted from its first
// failure; between tries the wait grows from Base to Cap with full jitter, or is what the endpoint asked for.
type Policy struct {
	Base, Cap time.Duration
	Open      time.Duration // an endpoint that has never answered this job and cannot be reached
	Call      time.Duration // a read or write that times out, is cut or meets a server's failure
	Busy      time.Duration // a drive that answers 409
	Young     time.Duration // how long a drive just created may be unknown (404) to parts of the endpoint
}

// DefaultPolicy rides out an endpoint that is away for minutes in the middle of a transfer, but says soon that one was
// never there.
var DefaultPolicy = Policy{
	Base: 200 * time.Millisecond, Cap: 15 * time.Second,
	Open: 15 * time.Second, Call: 10 * time.Minute, Busy: 10 * time.Minute, Young: 2 * time.Minute,
}

// retrier is the one retry layer: nothing below it tries anything twice.
type retrier struct {
	policy Policy
	count  *counters
	log    *zap.Logger
	drain  <-chan struct{}             // ends all waiting for another try
	met    bool                        // both ends have answered, in this attempt or an earlier one
	window atomic.Pointer[flow.Window] // of the copy that is under way; nil: none
}

// call runs op through the drive's gate and again after each failure that concerns this call alone.
func (r *retrier) call(ctx context.Context, g *gate, op func() error) error {
	through := func() error { return g.do(ctx, op) }
	return r.while(ctx, transfer.RetryCall, through(), through)
}

// patience is for how long a failure may go on.
func (r *retrier) patience(code transfer.Code) time.Duration {
	switch {
	case code.Retry() == transfer.RetryDrive:
		return r.policy.Busy
	case code == transfer.CodeUnreachable && !r.met:
		return r.policy.Open
	}
	return r.policy.Call
}

// while runs op until it stops failing with the given verdict, or has done so for too long. err is what op returned
// already.
func (r *retrier) while(ctx context.Context, verdict transfer.Retry, err error, op func() error) error {
	started, tries := time.Now(), 1
	pause := backoff.NewExponentialBackOff()
	// A factor of 1 spreads each wait over 0 to twice its length: clients that failed together do not return together.
	pause.InitialInterval, pause.MaxInterval, pause.RandomizationFactor = r.policy.Base, r.policy.Cap, 1
	for err != nil && transfer.CodeOf(err).Retry() == verdict {
		r.count.retry(transfer.CodeOf(err))
		r.window.Load().Failed(transfer.CodeOf(err))
		// What was asked for is the least: chunks that were refused together do not return together.
		wait := retryAfter(err) + pause.NextBackOff()
		r.log.Debug("retrying", zap.Duration("wait", wait), zap.Error(err))
		if failing := time.Since(started); failing+wait > r.patience(transfer.CodeOf(err)) {
			return gaveUp(err, tries, failing)
		}
		if err := rest(ctx, r.drain, wait); err != nil {
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
	e := &transfer.Error{Code: transfer.CodeOf(err), Err: fmt.Errorf("gave up after %d tries in %s: %w", tries, failing.Round(time.Second), err)}
	var cause *transfer.Error
	if errors.As(err, &cause) {
		e.Hint = cause.Hint
	}
	return e
}

// rest ends early when the worker drains.
func rest(ctx context.Context, drain <-chan struct{}, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-drain:
		return errDrained
	case <-ctx.Done():
		return ctx.Err()
	}
}

func sleep(ctx context.Context, d time.Duration) error { return rest(ctx, nil, d) }
