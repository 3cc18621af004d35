package queue

import (
	"context"
	"testing"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/transferd/transferd/internal/transfer"
)

// newMigrationSpec moves a server to endpoint b.
func newMigrationSpec() transfer.Spec {
	s := transfer.NewSpec(transfer.Migrate,
		transfer.Ref{Endpoint: "a", Drive: "0d3f5a55-4d5b-4c6b-9f3a-0a1b2c3d4e5f"}, transfer.Ref{Endpoint: "b"})
	s.Mode = transfer.ModeQuiesce
	return s
}

// TestOneMigrationOfAServer: while one has not ended, the same migration is that one, and another of
// the same server is a conflict. One that ended without success is continued, with the new spec; after
// a success there is a new one.
func TestOneMigrationOfAServer(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c, ctx := dial(t, o), t.Context()
		spec, started, elsewhere := newMigrationSpec(), newMigrationSpec(), newMigrationSpec()
		started.Start, elsewhere.Target.Endpoint = true, "c"
		if _, exists, err := c.LastOf(ctx, &spec); exists || err != nil {
			t.Errorf("before the first one: got one (%v), want none", err)
		}
		first, exists, err := c.EnqueueOnce(ctx, spec)
		if exists || err != nil {
			t.Fatalf("got exists %t, %v; want a new job", exists, err)
		}
		if again, exists, err := c.EnqueueOnce(ctx, spec); !exists || err != nil || again.ID != first.ID {
			t.Errorf("the same: got %s, exists %t (%v); want %s", again.ID, exists, err, first.ID)
		}
		for _, other := range []transfer.Spec{started, elsewhere} {
			_, _, err := c.EnqueueOnce(ctx, other)
			wantCode(t, err, transfer.CodeConflict)
		}
		if _, err := c.Cancel(ctx, first.ID); err != nil {
			t.Fatal(err)
		}
		again, exists, err := c.EnqueueOnce(ctx, started)
		if !exists || err != nil || again.ID != first.ID || again.State != transfer.Queued {
			t.Errorf("after a cancellation: got %+v, exists %t (%v); want %s queued", again, exists, err, first.ID)
		}
		var ran transfer.Spec
		stop := serve(t, c, "one", func(ctx context.Context, _ <-chan struct{}, a *Attempt) error {
			ran = a.Spec
			return awaitLate(ctx, a)
		})
		await(t, c, first.ID, transfer.Succeeded)
		stop()
		if !ran.Start {
			t.Errorf("got the spec %+v, want that of the last command", ran)
		}
		next, exists, err := c.EnqueueOnce(ctx, elsewhere)
		if exists || err != nil || next.ID == first.ID {
			t.Errorf("after a success: got %s, exists %t (%v); want a new job", next.ID, exists, err)
		}
		if last, exists, err := c.LastOf(ctx, &spec); !exists || err != nil || last.ID != next.ID {
			t.Errorf("got %s as the last one (%v), want %s", last.ID, err, next.ID)
		}
	})
}

// TestPartsRunWhileTheirBatchWaits: on a server with one slot. A part that is enqueued twice is one
// job, and one that is canceled ends.
func TestPartsRunWhileTheirBatchWaits(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c, ctx := dial(t, o), t.Context()
		batch, err := c.Enqueue(ctx, newMigrationSpec())
		if err != nil {
			t.Fatal(err)
		}
		ids := make(chan []string, 1)
		serve(t, c, "one", func(ctx context.Context, _ <-chan struct{}, a *Attempt) error {
			if !a.Spec.Action().MovesServer {
				return awaitLate(ctx, a)
			}
			one, two := a.NewID(), a.NewID()
			for _, id := range []string{one, one, two} {
				if err := a.EnqueuePart(ctx, id, newSpec()); err != nil {
					return err
				}
			}
			if err := a.CancelPart(ctx, two); err != nil {
				return err
			}
			for _, id := range []string{one, two} {
				for _, err := range c.Watch(ctx, id) { // until it ends
					if err != nil {
						return err
					}
				}
			}
			jobs, err := a.Parts(ctx, []string{one, two, "none"})
			if err != nil || len(jobs) != 2 {
				t.Errorf("got the parts %+v (%v), want two", jobs, err)
			}
			ids <- []string{one, two}
			return a.CancelPart(ctx, one) // it has ended
		}, func(s *Server) { s.cfg.Jobs, s.slots = 1, semaphore.NewWeighted(1) })
		await(t, c, batch.ID, transfer.Succeeded)
		parts := <-ids
		await(t, c, parts[0], transfer.Succeeded)
	})
}

// TestMigrationThatStopsIsAwaited: one that is being canceled may still undo what it has done, so that
// the same command waits for it, and continues it.
func TestMigrationThatStopsIsAwaited(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c, ctx := dial(t, o), t.Context()
		first, _, err := c.EnqueueOnce(ctx, newMigrationSpec())
		if err != nil {
			t.Fatal(err)
		}
		a := acquire(t, c, first.ID, withLease(time.Minute))
		if _, err := c.Cancel(ctx, first.ID); err != nil {
			t.Fatal(err)
		}
		next := make(chan transfer.Job)
		go func() {
			job, exists, err := c.EnqueueOnce(ctx, newMigrationSpec())
			if !exists || err != nil {
				t.Errorf("got exists %t, %v; want the first job", exists, err)
			}
			next <- job
		}()
		writeOutcome(t, a, transfer.Errorf(transfer.CodeCanceled, "", "canceled"))
		if job := <-next; job.ID != first.ID || job.State != transfer.Queued {
			t.Errorf("got %+v, want %s queued", job, first.ID)
		}
	})
}
