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

// interactivePatience is how long a call is retried for a user who waits for it; a job retries
// longer.
const interactivePatience = 2 * time.Minute

// anyFailure allows a retry after every failure: of a read, or of a call that is idempotent.
func anyFailure(transfer.Code) bool { return true }

// notCarriedOut allows a retry only if the endpoint did not carry the call out.
func notCarriedOut(code transfer.Code) bool {
	return code == transfer.CodeUnreachable || code == transfer.CodeThrottled || code == transfer.CodeConflict
}

// retrying makes a call to an endpoint and retries it as jobs do, if may allows it, for two minutes
// at the most. It prints each failure on stderr.
func (a *app) retrying(ctx context.Context, may func(transfer.Code) bool, call func() error) error {
	policy := flow.DefaultPolicy
	policy.Call, policy.Busy, policy.Asked = interactivePatience, interactivePatience, interactivePatience
	var asked flow.Asked
	var final error // a failure after which the call is not made again
	try := func() error {
		note := func() { fmt.Fprintln(a.stderr, "no answer yet, waiting for it") }
		quiet := time.AfterFunc(flow.LongWait, panics.Func(note, a.warn))
		err := call()
		quiet.Stop()
		if err != nil && !may(transfer.CodeOf(err)) {
			final, err = err, nil
		}
		return err
	}
	for err := try(); ; {
		verdict := transfer.CodeOf(err).Retry()
		if err == nil || verdict == transfer.RetryNever {
			return firstError(final, err)
		}
		r := flow.Retry{Policy: &policy, Verdict: verdict, Asked: &asked, OnFailure: a.printRetry}
		if err = r.Run(ctx, err, try); transfer.CodeOf(err).Retry() == verdict {
			return err
		}
	}
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *app) printRetry(err error, p flow.Pause) {
	if wait := time.Until(p.Until); wait <= interactivePatience {
		fmt.Fprintf(cli.EscapeControls(a.stderr), "%v; trying again in %.1f s\n", err, wait.Seconds())
	}
}

// retried is retrying of a read that returns something.
func retried[T any](ctx context.Context, a *app, call func(context.Context) (T, error)) (value T, err error) {
	err = a.retrying(ctx, anyFailure, func() (err error) {
		value, err = call(ctx)
		return err
	})
	return value, err
}
