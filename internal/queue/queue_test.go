package queue

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/transfer"
)

// TestLife follows a job from its queueing to its end.
func TestLife(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		id := enqueue(t, c)
		if job, err := c.Job(t.Context(), id); err != nil || job.State != transfer.Queued || job.Attempts != 0 {
			t.Errorf("a new job is %+v, %v", job, err)
		}
		serve(t, c, "one", func(ctx context.Context, _ <-chan struct{}, a *Attempt) error {
			for i := range int64(3) {
				at := transfer.Checkpoint{Plan: transfer.Plan{Drive: "uuid", Size: 12, ChunkSize: 4}, Entries: entries(i, 1)}
				at.Progress.Chunks.Done = i + 1
				if err := a.Save(ctx, &at); err != nil {
					return err
				}
			}
			return nil
		})
		job := await(t, c, id, transfer.Succeeded)
		if job.Attempts != 1 || job.Worker != "one" || job.Drive != "uuid" || job.Chunks.Done != 3 || job.FinishedAt == nil || job.Error != nil {
			t.Errorf("the job that ended is %+v", job)
		}
		_, at, err := c.Ledger(t.Context(), id)
		if err != nil || at.Plan.ChunkSize != 4 || !slices.Equal(at.Entries, entries(0, 3)) {
			t.Errorf("its ledger is %+v, %v", at, err)
		}
		workers, err := c.Workers(t.Context())
		if err != nil || len(workers) != 1 || workers[0].Name != "one" {
			t.Errorf("the workers are %+v, %v", workers, err)
		}
	})
}

// TestMoves tries every move in every state.
func TestMoves(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		ctx := t.Context()
		take := func(id string) *Attempt {
			a, err := c.acquire(ctx, id, "w", quick, nil)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		states := map[transfer.State]func(id string){
			transfer.Queued:    func(string) {},
			transfer.Running:   func(id string) { take(id) },
			transfer.Succeeded: func(id string) { _ = take(id).writeOutcome(ctx, nil) },
			transfer.Failed: func(id string) {
				_ = take(id).writeOutcome(ctx, transfer.Errorf(transfer.CodeInvalid, "do so", "it is bad"))
			},
			transfer.Canceled: func(id string) { _, _ = c.Cancel(ctx, id) },
		}
		mayCancel := []transfer.State{transfer.Queued, transfer.Running}
		ended := []transfer.State{transfer.Succeeded, transfer.Failed, transfer.Canceled}
		mayRetry := []transfer.State{transfer.Failed, transfer.Canceled}
		for state, reach := range states {
			for move, may := range map[string][]transfer.State{"cancel": mayCancel, "retry": mayRetry, "take": {transfer.Queued}, "forget": ended} {
				id := enqueue(t, c)
				reach(id)
				if job, err := c.Job(ctx, id); err != nil || job.State != state {
					t.Fatalf("the job is %s, not %s (%v)", job.State, state, err)
				}
				var err error
				switch move {
				case "cancel":
					_, err = c.Cancel(ctx, id)
				case "retry":
					_, err = c.Retry(ctx, id)
				case "take":
					if take(id) == nil {
						err = transfer.Errorf(transfer.CodeInvalid, "", "nothing to take")
					}
				case "forget":
					var gone []string
					if gone, err = c.forget(ctx, []string{id}); len(gone) == 0 && err == nil {
						err = transfer.Errorf(transfer.CodeInvalid, "", "it stays")
					}
				}
				if ok := slices.Contains(may, state); ok != (err == nil) {
					t.Errorf("%s of a %s job: %v", move, state, err)
				}
			}
		}
		_, err := c.Cancel(ctx, "none")
		wantCode(t, err, transfer.CodeNotFound)
		_, err = c.Retry(ctx, "none")
		wantCode(t, err, transfer.CodeNotFound)
		_, err = c.Job(ctx, "none")
		wantCode(t, err, transfer.CodeNotFound)
	})
}

// TestCancelRunning stops a job that runs, and a retry has all that it saved.
func TestCancelRunning(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		id := enqueue(t, c)
		serve(t, c, "one", func(ctx context.Context, _ <-chan struct{}, a *Attempt) error {
			at, err := a.Load(ctx)
			if err != nil || len(at.Entries) > 0 {
				return err
			}
			if err := a.Save(ctx, &transfer.Checkpoint{Entries: entries(0, 5)}); err != nil {
				return err
			}
			<-ctx.Done()
			return context.Cause(ctx)
		})
		await(t, c, id, transfer.Running)
		if _, err := c.Cancel(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		job := await(t, c, id, transfer.Canceled)
		if job.Error == nil || job.Error.Code != transfer.CodeCanceled {
			t.Errorf("the canceled job has the error %+v", job.Error)
		}
		if _, err := c.Retry(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if job := await(t, c, id, transfer.Succeeded); job.Attempts != 2 || job.Error != nil {
			t.Errorf("the retried job is %+v", job)
		}
	})
}

// TestDrain hands a job from a server that stops to another, and the first attempt does not count.
func TestDrain(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		id := enqueue(t, c)
		stop := serve(t, c, "one", func(ctx context.Context, drain <-chan struct{}, a *Attempt) error {
			<-drain
			if err := a.Save(ctx, &transfer.Checkpoint{Entries: entries(0, 2)}); err != nil {
				return err
			}
			return transfer.Errorf(transfer.CodeDrained, "", "stopping")
		})
		await(t, c, id, transfer.Running)
		stop()
		if job := await(t, c, id, transfer.Queued); job.Attempts != 0 {
			t.Errorf("the job handed back has %d attempts", job.Attempts)
		}
		var found atomic.Int64
		serve(t, c, "two", func(ctx context.Context, _ <-chan struct{}, a *Attempt) error {
			at, err := a.Load(ctx)
			found.Store(int64(len(at.Entries)))
			return err
		})
		if job := await(t, c, id, transfer.Succeeded); job.Worker != "two" || job.Attempts != 1 || found.Load() != 2 {
			t.Errorf("the job is %+v, and its second worker found %d entries", job, found.Load())
		}
	})
}

// TestCancelWhileDraining ends a job that is canceled when its worker has begun to stop.
func TestCancelWhileDraining(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		id := enqueue(t, c)
		a, err := c.acquire(t.Context(), id, "w", quick, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Cancel(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time as if the first answer had been lost
			if err := a.writeOutcome(t.Context(), transfer.Errorf(transfer.CodeDrained, "", "stopping")); err != nil {
				t.Fatal(err)
			}
		}
		makeDue(t, c)
		if err := (&triggers{client: c, timing: quick}).Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		if job := await(t, c, id, transfer.Canceled); job.Error == nil || job.Error.Code != transfer.CodeCanceled || job.FinishedAt == nil || indexed(t, c, id) {
			t.Errorf("the job is %+v", job)
		}
	})
}

// TestTakeover takes a job from a worker that fell silent, which is told so as soon as it says anything.
func TestTakeover(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		id := enqueue(t, c)
		silent, err := c.acquire(t.Context(), id, "silent", quick, nil)
		if err != nil || silent == nil {
			t.Fatal(silent, err)
		}
		release := make(chan struct{})
		serve(t, c, "other", func(context.Context, <-chan struct{}, *Attempt) error {
			<-release
			return nil
		})
		for job, err := range c.Watch(t.Context(), id) {
			if err != nil {
				t.Fatal(err)
			}
			if job.Worker == "other" {
				break
			}
		}
		wantCode(t, silent.Save(t.Context(), &transfer.Checkpoint{Entries: entries(0, 1)}), transfer.CodeFenced)
		if err := silent.writeOutcome(t.Context(), nil); err != nil {
			t.Errorf("a worker that has lost its job cannot end it, and need not know: %v", err)
		}
		if job, _ := c.Job(t.Context(), id); job.State != transfer.Running {
			t.Errorf("the silent worker made the job %s", job.State)
		}
		if !indexed(t, c, id) {
			t.Error("maintenance would not see the other worker die, for the silent one ended the job")
		}
		close(release)
		if job := await(t, c, id, transfer.Succeeded); job.Worker != "other" || job.Attempts != 2 {
			t.Errorf("the job is %+v", job)
		}
	})
}

// indexed reports whether maintenance is going to look at a job.
func indexed(t *testing.T, c *Client, id string) bool {
	t.Helper()
	queued, err := c.rdb.ZRank(t.Context(), keyQueued, id).Result()
	if err == redis.Nil { //nolint:errorlint // go-redis returns it bare
		queued, err = c.rdb.ZRank(t.Context(), keyRunning, id).Result()
	}
	if err != nil && err != redis.Nil { //nolint:errorlint // go-redis returns it bare
		t.Fatal(queued, err)
	}
	return err == nil
}

// makeDue has maintenance look at all jobs of the index at its next tick.
func makeDue(t testing.TB, c *Client) {
	t.Helper()
	for _, set := range []string{keyQueued, keyRunning, keyDeadlines} {
		ids, err := c.rdb.ZRange(t.Context(), set, 0, -1).Result()
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range ids {
			if err := c.rdb.ZAddXX(t.Context(), set, redis.Z{Score: 1, Member: id}).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestRetryAtTheEnd retries a job while maintenance, which saw it end, drops it.
func TestRetryAtTheEnd(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c, other := dial(t, o), dial(t, o)
		for range 50 {
			id := enqueue(t, c)
			if _, err := c.Cancel(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			makeDue(t, c)
			dropped := make(chan error, 1)
			go func() { dropped <- (&triggers{client: other, timing: quick}).Tick(t.Context()) }()
			if _, err := c.Retry(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			if err := <-dropped; err != nil {
				t.Fatal(err)
			}
			if !indexed(t, c, id) {
				t.Fatal("maintenance looks no more at a job that was retried")
			}
		}
	})
}

// TestLostTrigger takes away what asynq holds of a job.
func TestLostTrigger(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		id := enqueue(t, c)
		if err := c.wakeup.inspector.DeleteTask(transfer.DefaultQueue, id+":0"); err != nil {
			t.Fatal(err)
		}
		serve(t, c, "one", func(context.Context, <-chan struct{}, *Attempt) error { return nil })
		await(t, c, id, transfer.Succeeded)
	})
}

// TestPanic fails the job and leaves the server serving.
func TestPanic(t *testing.T) {
	c := dial(t, startRedis(t).options)
	first := enqueue(t, c)
	serve(t, c, "one", func(_ context.Context, _ <-chan struct{}, a *Attempt) error {
		if a.Job.ID == first {
			panic("a mistake")
		}
		return nil
	})
	job := await(t, c, first, transfer.Failed)
	if job.Error.Code != transfer.CodeInternal || strings.Contains(job.Error.Message, "mistake") {
		t.Errorf("the error is %+v", job.Error)
	}
	await(t, c, enqueue(t, c), transfer.Succeeded)
}

// TestPanicOfTheRenewalFailsTheJob: a panic of a renewal fails the job, not the server.
func TestPanicOfTheRenewalFailsTheJob(t *testing.T) {
	c := dial(t, startRedis(t).options)
	id := enqueue(t, c)
	broken := func(s *Server) { s.timing.renew = 0 } // makes time.NewTicker panic
	serve(t, c, "one", func(ctx context.Context, _ <-chan struct{}, _ *Attempt) error {
		<-ctx.Done()
		return ctx.Err()
	}, broken)
	if job := await(t, c, id, transfer.Failed); job.Error.Code != transfer.CodeInternal {
		t.Errorf("the error is %+v", job.Error)
	}
}

// TestPanicOfMaintenanceEndsTheServer: a panic of maintenance ends the server with an error.
func TestPanicOfMaintenanceEndsTheServer(t *testing.T) {
	c := dial(t, startRedis(t).options)
	s := NewServer(c, ServerConfig{Name: "one", Queues: []string{transfer.DefaultQueue}, Jobs: 1, Log: zap.NewNop()})
	s.timing = quick
	s.timing.tick = 0 // makes time.NewTicker panic
	if err := s.Run(t.Context()); transfer.CodeOf(err) != transfer.CodeInternal {
		t.Errorf("got %v, want %s", err, transfer.CodeInternal)
	}
}

// TestPriority serves high before default before low, when all wait.
func TestPriority(t *testing.T) {
	c := dial(t, startRedis(t).options)
	for _, p := range []transfer.Priority{transfer.PriorityLow, transfer.PriorityDefault, transfer.PriorityHigh} {
		spec := newSpec()
		spec.Priority = p
		if _, err := c.Enqueue(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
	}
	served := make(chan transfer.Priority, 3)
	serve(t, c, "one", func(_ context.Context, _ <-chan struct{}, a *Attempt) error {
		served <- a.Spec.Priority
		return nil
	})
	var all []transfer.Priority
	for range 3 {
		all = append(all, <-served)
	}
	// asynq draws by weight, so only that all are served is certain.
	slices.Sort(all)
	if fmt.Sprint(all) != "[default high low]" {
		t.Errorf("served were %v", all)
	}
}
