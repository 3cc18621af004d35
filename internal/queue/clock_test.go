package queue

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/transferd/transferd/internal/transfer"
)

// shiftedRedis is a Redis whose clock differs from that of its clients by shift.
func shiftedRedis(t *testing.T, shift time.Duration) Options {
	t.Helper()
	m := miniredis.NewMiniRedis()
	m.ClockTTL(true)
	m.SetTime(time.Now().Add(shift))
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case now := <-tick.C:
				m.SetTime(now.Add(shift))
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-stopped
		m.Close()
	})
	return Options{URL: "redis://" + m.Addr() + "/0"}
}

// TestTimesAreByRedisClock: the clocks of the clients differ from Redis' clock by two hours. All
// times are by Redis' clock, a deadline ends a job after its duration, and prune uses the time
// since the end of a job.
func TestTimesAreByRedisClock(t *testing.T) {
	for _, shift := range []time.Duration{2 * time.Hour, -2 * time.Hour} {
		t.Run(fmt.Sprint(shift), func(t *testing.T) {
			c := dial(t, shiftedRedis(t, shift))
			isNow := func(what string, at *time.Time) {
				t.Helper()
				if at == nil || time.Until(at.Add(-shift)).Abs() > time.Minute {
					t.Errorf("%s: got %v, want about %v", what, at, time.Now().Add(shift))
				}
			}
			const deadline = time.Second
			spec := newSpec()
			spec.Deadline = transfer.Seconds(deadline)
			unserved := spec
			unserved.Queue = "not-served"
			enqueued := func(spec transfer.Spec) transfer.Job {
				job, err := c.Enqueue(t.Context(), spec)
				if err != nil {
					t.Fatal(err)
				}
				isNow("created", &job.CreatedAt)
				if job.Deadline == nil || job.Deadline.Sub(job.CreatedAt) != time.Duration(spec.Deadline) {
					t.Errorf("got a deadline at %v, want %s after %v",
						job.Deadline, time.Duration(spec.Deadline), job.CreatedAt)
				}
				return job
			}
			hour := spec
			hour.Deadline = transfer.Seconds(time.Hour)
			runs, hangs, waits := enqueued(hour), enqueued(spec), enqueued(unserved)
			serve(t, c, "one", func(ctx context.Context, _ <-chan struct{}, a *Attempt) error {
				now := a.Now()
				if isNow("the attempt's time", &now); a.Job.ID == runs.ID {
					return nil
				}
				<-ctx.Done()
				return context.Cause(ctx)
			})
			workers, err := c.Workers(t.Context())
			if err != nil || len(workers) != 1 {
				t.Fatalf("got the workers %v (%v), want one", workers, err)
			}
			isNow("the worker's start", &workers[0].StartedAt)
			job := await(t, c, runs.ID, transfer.Succeeded)
			isNow("started", job.StartedAt)
			isNow("finished", job.FinishedAt)
			isNow("read", &job.AsOf)
			// This Redis' clock moves in steps, which are late on a busy host: accept half of the
			// deadline.
			for _, id := range []string{hangs.ID, waits.ID} {
				job := await(t, c, id, transfer.Failed)
				took := job.FinishedAt.Sub(job.CreatedAt)
				if job.Error.Code != transfer.CodeDeadline || took < deadline/2 || job.Seconds > 60 {
					t.Errorf("got the error %+v after %v and %f s, want %s after %s",
						job.Error, took, job.Seconds, transfer.CodeDeadline, deadline)
				}
			}
			if n, err := c.Prune(t.Context(), PruneOptions{OlderThan: time.Hour}); n != 0 || err != nil {
				t.Errorf("prune of old jobs: got %d (%v), want none", n, err)
			}
			again, err := c.Retry(t.Context(), hangs.ID)
			if err != nil || again.Deadline.Sub(again.AsOf) < deadline/2 {
				t.Errorf("retry: got a deadline at %v (%v), want %s after %v",
					again.Deadline, err, deadline, again.AsOf)
			}
			await(t, c, hangs.ID, transfer.Failed)
			if n, err := c.Prune(t.Context(), PruneOptions{}); n != 3 || err != nil {
				t.Errorf("prune: got %d jobs (%v), want 3", n, err)
			}
		})
	}
}

// TestTriggerOfAWrongClockIsDelivered: a trigger that asynq would deliver in two hours, because the
// clock of the worker that returned it is wrong, is delivered at once.
func TestTriggerOfAWrongClockIsDelivered(t *testing.T) {
	c := dial(t, startRedis(t).options)
	id := enqueue(t, c)
	key := "asynq:{" + transfer.DefaultQueue + "}:"
	do(t, c, "LREM", key+"pending", "0", id+":0")
	do(t, c, "HSET", taskKey(transfer.DefaultQueue, id+":0"), "state", "retry")
	do(t, c, "ZADD", key+"retry", time.Now().Add(2*time.Hour).Unix(), id+":0")
	serve(t, c, "one", succeed)
	await(t, c, id, transfer.Succeeded)
}
