package main

import (
	"context"
	"fmt"
	"time"

	"github.com/transferd/transferd/internal/cli"
	"github.com/transferd/transferd/internal/flow"
	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/transfer"
)

// commandRetryTime is how long a command retries a call. A job retries longer.
const commandRetryTime = 2 * time.Minute

// anyFailure allows a retry after every failure, for calls that are idempotent.
func anyFailure(transfer.Code) bool { return true }

// notCarriedOut allows a retry only if the endpoint did not carry out the call.
func notCarriedOut(code transfer.Code) bool {
	return code == transfer.CodeUnreachable || code == transfer.CodeThrottled || code == transfer.CodeConflict
}

// briefBusyTime is how long retryBriefly retries a call on an object that is in use.
const briefBusyTime = 5 * time.Second

// retry makes a call to an endpoint, and retries it for commandRetryTime at most after failures
// that retryable allows. It prints each failure on stderr.
func (a *app) retry(ctx context.Context, retryable func(transfer.Code) bool, call func() error) error {
	return a.retryBusy(ctx, commandRetryTime, retryable, call)
}

// retryBriefly is retry for calls on objects that may be in use for long, as a drive is by a
// running server: it soon returns the error that says so.
func (a *app) retryBriefly(ctx context.Context, retryable func(transfer.Code) bool, call func() error) error {
	return a.retryBusy(ctx, briefBusyTime, retryable, call)
}

func (a *app) retryBusy(
	ctx context.Context, busy time.Duration, retryable func(transfer.Code) bool, call func() error,
) error {
	policy := flow.DefaultPolicy
	policy.Call, policy.Busy, policy.RequestedWait = commandRetryTime, busy, commandRetryTime
	var requested flow.RequestedWait
	var final error // a failure after which the call is not made again
	try := func() error {
		note := func() { fmt.Fprintln(a.stderr, "no response yet, waiting") }
		quiet := time.AfterFunc(flow.LongWait, panics.Func(note, a.warn))
		err := call()
		quiet.Stop()
		if err != nil && !retryable(transfer.CodeOf(err)) {
			final, err = err, nil
		}
		return err
	}
	for err := try(); ; {
		verdict := transfer.CodeOf(err).Retry()
		if err == nil || verdict == transfer.RetryNever {
			return firstError(final, err)
		}
		r := flow.Retry{Policy: &policy, Verdict: verdict, RequestedWait: &requested, OnFailure: a.printRetry}
		if err = r.Run(ctx, err, try); transfer.CodeOf(err).Retry() == verdict {
			return err
		}
	}
}

// inDoubt gives the error of a call that may have been carried out a hint how to see whether it
// was. It returns other errors as they are.
func inDoubt(err error, hint string) error {
	if !transfer.MayBeCarriedOut(err) {
		return err
	}
	return &transfer.Error{Code: transfer.CodeOf(err), Hint: hint, Err: err}
}

// firstError is the first of errs that is not nil.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *app) printRetry(err error, p flow.Pause) {
	if wait := time.Until(p.Until); wait <= commandRetryTime {
		fmt.Fprintf(cli.EscapeControls(a.stderr), "%v; trying again in %.1f s\n", err, wait.Seconds())
	}
}

// retried is retry for a read that returns a value.
func retried[T any](ctx context.Context, a *app, call func(context.Context) (T, error)) (value T, err error) {
	err = a.retry(ctx, anyFailure, func() (err error) {
		value, err = call(ctx)
		return err
	})
	return value, err
}
