package queue

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
)

// TestJobRunsFromEnqueueToSuccess: a job is queued, runs, saves, and succeeds with its ledger.
func TestJobRunsFromEnqueueToSuccess(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		id := enqueue(t, c)
		if job, err := c.Job(t.Context(), id); err != nil || job.State != transfer.Queued || job.Attempts != 0 {
			t.Errorf("a new job: got %+v (%v), want a queued one without attempts", job, err)
		}
		serve(t, c, "one", func(ctx context.Context, _ <-chan struct{}, a *Attempt) error {
			for i := range int64(3) {
				plan := transfer.Plan{Drive: "uuid", Size: 12, ChunkSize: 4}
				at := transfer.Checkpoint{Plan: plan, Entries: entries(i, 1)}
				at.Progress.Chunks.Done = i + 1
				if err := a.Save(ctx, &at); err != nil {
					return err
				}
			}
			return nil
		})
		job := await(t, c, id, transfer.Succeeded)
		ran := job.Attempts == 1 && job.Worker == "one" && job.Drive == "uuid" && job.Chunks.Done == 3
		if !ran || job.FinishedAt == nil || job.Error != nil {
			t.Errorf("got %+v, want one attempt of worker one with 3 chunks of drive uuid", job)
		}
		_, at, err := c.Ledger(t.Context(), id)
		if err != nil || at.Plan.ChunkSize != 4 || !slices.Equal(at.Entries, entries(0, 3)) {
			t.Errorf("got the checkpoint %+v (%v), want 3 entries of chunks of 4 bytes", at, err)
		}
		workers, err := c.Workers(t.Context())
		if err != nil || len(workers) != 1 || workers[0].Name != "one" {
			t.Errorf("got the workers %+v (%v), want one", workers, err)
		}
	})
}

// TestEachStateAllowsItsMoves: each of cancel, retry, acquire and delete succeeds in its states
// alone.
func TestEachStateAllowsItsMoves(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		ctx := t.Context()
		failure := transfer.Errorf(transfer.CodeInvalid, "do so", "it is bad")
		states := map[transfer.State]func(id string){
			transfer.Queued:    func(string) {},
			transfer.Running:   func(id string) { acquire(t, c, id, quick) },
			transfer.Succeeded: func(id string) { writeOutcome(t, acquire(t, c, id, quick), nil) },
			transfer.Failed:    func(id string) { writeOutcome(t, acquire(t, c, id, quick), failure) },
			transfer.Canceled:  func(id string) { _, _ = c.Cancel(ctx, id) },
		}
		moves := map[string]struct {
			make    func(id string) (made bool)
			allowed []transfer.State
		}{
			"cancel": {
				func(id string) bool { _, err := c.Cancel(ctx, id); return err == nil },
				[]transfer.State{transfer.Queued, transfer.Running},
			},
			"retry": {
				func(id string) bool { _, err := c.Retry(ctx, id); return err == nil },
				[]transfer.State{transfer.Failed, transfer.Canceled},
			},
			"acquire": {
				func(id string) bool {
					a, err := c.acquire(ctx, id, anyEpoch, "w", quick, nil)
					return a != nil && err == nil
				},
				[]transfer.State{transfer.Queued},
			},
			"delete": {
				func(id string) bool {
					gone, err := c.deleteEnded(ctx, []string{id})
					return len(gone) == 1 && err == nil
				},
				[]transfer.State{transfer.Succeeded, transfer.Failed, transfer.Canceled},
			},
		}
		for state, reach := range states {
			for name, move := range moves {
				id := enqueue(t, c)
				reach(id)
				if job, err := c.Job(ctx, id); err != nil || job.State != state {
					t.Fatalf("got state %s (%v), want %s", job.State, err, state)
				}
				if got, want := move.make(id), slices.Contains(move.allowed, state); got != want {
					t.Errorf("%s of a %s job: got success %v, want %v", name, state, got, want)
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

// TestRetryAfterCancelContinues: a retry of a running job that was canceled has the saved entries.
func TestRetryAfterCancelContinues(t *testing.T) {
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
			t.Errorf("got the error %+v, want %s", job.Error, transfer.CodeCanceled)
		}
		if _, err := c.Retry(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if job := await(t, c, id, transfer.Succeeded); job.Attempts != 2 || job.Error != nil {
			t.Errorf("got %+v, want 2 attempts and no error", job)
		}
	})
}

// TestDrainedJobRunsOnAnotherServer: a job that drained continues on another server, and the first
// attempt does not count.
func TestDrainedJobRunsOnAnotherServer(t *testing.T) {
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
			t.Errorf("after the drain: got %d attempts, want 0", job.Attempts)
		}
		var found atomic.Int64
		serve(t, c, "two", func(ctx context.Context, _ <-chan struct{}, a *Attempt) error {
			at, err := a.Load(ctx)
			found.Store(int64(len(at.Entries)))
			return err
		})
		if job := await(t, c, id, transfer.Succeeded); job.Worker != "two" || job.Attempts != 1 || found.Load() != 2 {
			t.Errorf("got %+v with %d entries, want one attempt of worker two with 2 entries", job, found.Load())
		}
	})
}

// TestJobCanceledWhileDrainingEnds: a job that is canceled while its worker drains it is canceled,
// and not queued again.
func TestJobCanceledWhileDrainingEnds(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		a := attempt(t, c)
		id := a.Job.ID
		if _, err := c.Cancel(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time as if the first answer had been lost
			writeOutcome(t, a, transfer.Errorf(transfer.CodeDrained, "", "stopping"))
		}
		makeDue(t, c)
		if err := (&triggers{client: c, timing: quick}).Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		job := await(t, c, id, transfer.Canceled)
		ended := job.Error != nil && job.Error.Code == transfer.CodeCanceled && job.FinishedAt != nil
		if !ended || indexed(t, c, id) {
			t.Errorf("got %+v with the error %+v, indexed %v; want canceled, and not indexed",
				job, job.Error, indexed(t, c, id))
		}
	})
}

// TestSilentWorkerLosesItsJob: another worker takes the job of a worker that does not renew its
// lease. The silent worker is fenced: its saves fail, and it cannot end the job.
func TestSilentWorkerLosesItsJob(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		silent := attempt(t, c)
		id := silent.Job.ID
		release := make(chan struct{})
		serve(t, c, "other", func(ctx context.Context, _ <-chan struct{}, a *Attempt) error {
			if err := receiveOrEnd(ctx, release); err != nil {
				return err
			}
			return awaitLate(ctx, a)
		})
		awaitJob(t, c, id, "run by the other worker", func(j *transfer.Job) bool { return j.Worker == "other" })
		wantCode(t, silent.Save(t.Context(), &transfer.Checkpoint{Entries: entries(0, 1)}), transfer.CodeFenced)
		if ended, err := silent.writeOutcome(t.Context(), nil); ended || err != nil {
			t.Errorf("outcome of the silent worker: got ended %v, %v; want false and no error", ended, err)
		}
		if job, _ := c.Job(t.Context(), id); job.State != transfer.Running {
			t.Errorf("after the outcome of the silent worker: got state %s, want running", job.State)
		}
		if !indexed(t, c, id) {
			t.Error("got a running job outside of the index")
		}
		close(release)
		if job := await(t, c, id, transfer.Succeeded); job.Worker != "other" || job.Attempts != 2 {
			t.Errorf("got worker %s and %d attempts, want other and 2", job.Worker, job.Attempts)
		}
	})
}

// TestEachAttemptIsLogged: a server logs the start and the end of each attempt, or its release,
// with the fields job, kind and attempt, and code if it did not succeed.
func TestEachAttemptIsLogged(t *testing.T) {
	c := dial(t, startRedis(t).options)
	core, logs := observer.New(zap.InfoLevel)
	failed, succeeded, drained := enqueue(t, c), "", ""
	var last atomic.Bool
	stop := serve(t, c, "one", func(_ context.Context, drain <-chan struct{}, a *Attempt) error {
		if a.Job.ID == failed {
			return transfer.Errorf(transfer.CodeInvalid, "", "it is bad")
		}
		if !last.Load() {
			return nil
		}
		<-drain
		return transfer.Errorf(transfer.CodeDrained, "", "stopping")
	}, func(s *Server) { s.cfg.Log = zap.New(core) })
	await(t, c, failed, transfer.Failed)
	succeeded = enqueue(t, c)
	await(t, c, succeeded, transfer.Succeeded)
	last.Store(true)
	drained = enqueue(t, c)
	await(t, c, drained, transfer.Running)
	stop()
	for id, last := range map[string]struct {
		message string
		code    transfer.Code
	}{
		failed: {LogEnded, transfer.CodeInvalid}, succeeded: {LogEnded, ""},
		drained: {LogReleased, transfer.CodeDrained},
	} {
		lines := logs.FilterField(zap.String("job", id)).All()
		if len(lines) != 2 || lines[0].Message != LogStarted || lines[1].Message != last.message {
			t.Fatalf("got the lines %+v, want %q and %q", lines, LogStarted, last.message)
		}
		for _, line := range lines {
			fields := line.ContextMap()
			if fields["kind"] != string(transfer.Upload) || fields["attempt"] != int64(1) {
				t.Errorf("%s: got the fields %v, want kind upload and attempt 1", line.Message, fields)
			}
		}
		if got, ok := lines[1].ContextMap()["code"]; ok != (last.code != "") || ok && got != string(last.code) {
			t.Errorf("%s: got code %v (%t), want %q, and none if that is empty", last.message, got, ok, last.code)
		}
	}
}

// indexed reports whether a job is in the set of queued or running jobs.
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

// makeDue makes all jobs of the index due.
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

// TestRetriedJobStaysIndexed: maintenance that has read an ended job does not drop the entry of its
// retry.
func TestRetriedJobStaysIndexed(t *testing.T) {
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
			if err := transfertest.Receive(t, dropped, "end of the tick"); err != nil {
				t.Fatal(err)
			}
			if !indexed(t, c, id) {
				t.Fatal("got a retried job outside of the index")
			}
		}
	})
}

// TestLostTriggerIsReplaced: a job whose trigger asynq has lost runs.
func TestLostTriggerIsReplaced(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		id := enqueue(t, c)
		if err := c.wakeup.inspector.DeleteTask(transfer.DefaultQueue, id+":0"); err != nil {
			t.Fatal(err)
		}
		serve(t, c, "one", succeed)
		await(t, c, id, transfer.Succeeded)
	})
}

// TestPanicFailsOnlyItsJob: a panic of a run fails its job, and the server runs the next one.
func TestPanicFailsOnlyItsJob(t *testing.T) {
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
		t.Errorf("got the error %+v, want %s without the value of the panic", job.Error, transfer.CodeInternal)
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
		t.Errorf("got the error %+v, want %s", job.Error, transfer.CodeInternal)
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

// TestAllPrioritiesAreServed: a server runs jobs of all priorities. asynq draws the queues by
// weight, so the order is random.
func TestAllPrioritiesAreServed(t *testing.T) {
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
		all = append(all, transfertest.Receive(t, served, "job"))
	}
	slices.Sort(all)
	want := []transfer.Priority{transfer.PriorityDefault, transfer.PriorityHigh, transfer.PriorityLow}
	if slices.Sort(want); !slices.Equal(all, want) {
		t.Errorf("got jobs of the priorities %v, want %v", all, want)
	}
}
