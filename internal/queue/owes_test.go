package queue

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// owing is a checkpoint of a job that has to destroy a clone; settled is one of a job that has.
var (
	owing = transfer.Checkpoint{Plan: transfer.Plan{Snapshot: transfer.Snapshot{Requested: time.Unix(1, 0).UTC()}}}

	settled = transfer.Checkpoint{Ending: true}
)

// TestWorkerEndsAJobThatOwes: a job whose worker was killed, or handed it back, is canceled, or its
// deadline passes. It ends only when another worker has undone what it owes.
func TestWorkerEndsAJobThatOwes(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		for _, end := range []jobEnd{{cancel: true}, {cancel: true, released: true}, {}, {released: true}} {
			end.run(t, dial(t, o))
		}
	})
}

// jobEnd is how a job ends while it owes something: by its deadline, or canceled.
type jobEnd struct{ cancel, released bool }

func (e jobEnd) run(t *testing.T, c *Client) {
	t.Helper()
	spec := newSpec()
	if !e.cancel {
		spec.Deadline = transfer.Seconds(time.Second)
	}
	job, err := c.Enqueue(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	a := acquire(t, c, job.ID, withLease(200*time.Millisecond))
	if err := a.Save(t.Context(), &owing); err != nil {
		t.Fatal(err)
	}
	if e.released {
		if _, err := a.release(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	state := transfer.Failed
	if e.cancel {
		state = transfer.Canceled
		awaitLease(t, c, job.ID, 0)
		job, err := c.Cancel(t.Context(), job.ID)
		if err != nil || job.State.Terminal() || !job.Stopping {
			t.Errorf("%+v: got %s, stopping %t (%v); want it stopping", e, job.State, job.Stopping, err)
		}
	}
	undone := make(chan struct{}, 10)
	stop := serve(t, c, "one", func(ctx context.Context, _ <-chan struct{}, a *Attempt) error {
		<-ctx.Done() // the renewal has the cancellation
		undone <- struct{}{}
		if err := a.Save(context.WithoutCancel(ctx), &settled); err != nil {
			t.Errorf("%+v: the save of a job that ends: got %v, want none", e, err)
		}
		return context.Cause(ctx)
	})
	defer stop()
	await(t, c, job.ID, state)
	if len(undone) != 1 {
		t.Errorf("%+v: got %d attempts after the first one, want 1", e, len(undone))
	}
}

// TestWorkersThatDieDoNotEndAJobThatOwes: after too many of them, the next ones only undo what it
// owes, and then it has failed.
func TestWorkersThatDieDoNotEndAJobThatOwes(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		id := enqueue(t, c)
		for deaths := range 3 * maxCrashes {
			a := acquire(t, c, id, withLease(time.Millisecond))
			if want := deaths > maxCrashes; a.lost != want {
				t.Errorf("after %d deaths: got an attempt that only undoes: %t, want %t", deaths, a.lost, want)
			}
			if err := a.Save(t.Context(), &owing); err != nil {
				t.Fatal(err)
			}
		}
		stop := serve(t, c, "one", func(ctx context.Context, _ <-chan struct{}, a *Attempt) error {
			if code := transfer.CodeOf(context.Cause(ctx)); code != transfer.CodeWorkerLost {
				t.Errorf("got an attempt with the cause %q, want %s", code, transfer.CodeWorkerLost)
			}
			return errors.Join(a.Save(context.WithoutCancel(ctx), &settled), context.Cause(ctx))
		})
		defer stop()
		if job := await(t, c, id, transfer.Failed); job.Error.Code != transfer.CodeWorkerLost {
			t.Errorf("got %+v, want %s", job.Error, transfer.CodeWorkerLost)
		}
	})
}

// TestWorkerThatStopsHandsOnWhatAJobOwes: it was canceled, and its worker stops before it has undone
// that. Another worker does it at once.
func TestWorkerThatStopsHandsOnWhatAJobOwes(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		id := enqueue(t, c)
		undoing := make(chan struct{})
		stop := serve(t, c, "one", func(ctx context.Context, drain <-chan struct{}, a *Attempt) error {
			err := a.Save(ctx, &owing)
			undoing <- struct{}{}
			<-ctx.Done()
			undoing <- struct{}{}
			<-drain
			return errors.Join(err, transfer.Errorf(transfer.CodeDrained, "", "test"))
		})
		<-undoing
		if _, err := c.Cancel(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		<-undoing
		stop()
		if job, err := c.Job(t.Context(), id); err != nil || job.State != transfer.Queued || !job.Stopping {
			t.Errorf("got %s, stopping %t (%v); want it queued, and stopping", job.State, job.Stopping, err)
		}
		records, _, err := c.records(t.Context(), []string{id})
		if err != nil {
			t.Fatal(err)
		}
		if without, err := c.wakeup.untriggered(t.Context(), records); len(without) > 0 || err != nil {
			t.Errorf("got %d jobs without a trigger (%v), want none", len(without), err)
		}
		defer serve(t, c, "two", func(ctx context.Context, _ <-chan struct{}, a *Attempt) error {
			<-ctx.Done()
			return errors.Join(a.Save(context.WithoutCancel(ctx), &settled), context.Cause(ctx))
		})()
		await(t, c, id, transfer.Canceled)
	})
}
