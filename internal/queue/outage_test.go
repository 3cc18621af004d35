package queue

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
)

// TestRunningJobSurvivesARestartOfRedis: while Redis is down, a running job continues, and its
// worker keeps it. Its outcome is written when Redis answers again.
func TestRunningJobSurvivesARestartOfRedis(t *testing.T) {
	r := startRedis(t)
	c := dial(t, r.options)
	id := enqueue(t, c)
	saved, killed, refused, back := make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})
	var runs atomic.Int64
	serve(t, c, "one", func(ctx context.Context, _ <-chan struct{}, a *Attempt) error {
		runs.Add(1)
		if err := a.Save(ctx, &transfer.Checkpoint{Entries: entries(0, 3)}); err != nil {
			return err
		}
		close(saved)
		if err := receiveOrEnd(ctx, killed); err != nil {
			return err
		}
		err := a.Save(ctx, &transfer.Checkpoint{Entries: entries(3, 3)})
		wantCode(t, err, transfer.CodeUnreachable)
		close(refused)
		if err := receiveOrEnd(ctx, back); err != nil {
			return err
		}
		return awaitLate(ctx, a)
	})
	transfertest.Receive(t, saved, "first save")
	r.kill()
	close(killed)
	transfertest.Receive(t, refused, "refused save")
	r.start()
	close(back)
	if job := await(t, c, id, transfer.Succeeded); job.Attempts != 1 || runs.Load() != 1 {
		t.Errorf("got %d runs and %d attempts, want 1 each", runs.Load(), job.Attempts)
	}
	if _, at, err := c.Ledger(t.Context(), id); err != nil || len(at.Entries) != 3 {
		t.Errorf("got %d entries (%v), want the 3 that were acknowledged", len(at.Entries), err)
	}
}

// TestRestartAtTheEndIsRunAgain: if Redis restarts while a run succeeds, the job is released,
// because the previous Redis may have given it to another worker. The next run waits for late
// bytes. The two runs count as one attempt, and no other job can claim the drive in between. A job
// that fails, or writes nothing, ends at once.
func TestRestartAtTheEndIsRunAgain(t *testing.T) {
	clone := transfer.NewSpec(transfer.Clone, transfer.Ref{Endpoint: "zrh", Drive: "d"}, transfer.Ref{Endpoint: "zrh"})
	for name, tc := range map[string]struct {
		spec  transfer.Spec
		slow  bool // the first run ends after the time of late bytes
		fails error
		runs  int64
	}{
		"success":      {newSpec(), false, nil, 2},
		"slow success": {newSpec(), true, nil, 2},
		"failure":      {newSpec(), false, transfer.Errorf(transfer.CodeFailed, "", "broken"), 1},
		"no writes":    {clone, false, nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := startRedis(t)
			c := dial(t, r.options)
			queued, err := c.Enqueue(t.Context(), tc.spec)
			if err != nil {
				t.Fatal(err)
			}
			var runs atomic.Int64
			serve(t, c, "one", func(ctx context.Context, _ <-chan struct{}, a *Attempt) error {
				if runs.Add(1) == 1 {
					if _, err := a.Claim(ctx, driveOf("m", "zrh")); err != nil {
						return err
					}
					r.kill()
					r.start()
					if tc.slow {
						waitForLateBytes(ctx, a)
					}
					return tc.fails
				}
				if _, unclean := a.lease.Late(); !unclean {
					t.Error("the second run: got no late bytes, want some after the restart")
				}
				if err := awaitLate(ctx, a); err != nil {
					return err
				}
				_, err := c.Claims("other").Claim(ctx, driveOf("n", "zrh"))
				wantCode(t, err, transfer.CodeConflict)
				return nil
			}, func(s *Server) { s.timing.claim = time.Minute })
			want := transfer.Succeeded
			if tc.fails != nil {
				want = transfer.Failed
			}
			if job := await(t, c, queued.ID, want); job.Attempts != 1 || runs.Load() != tc.runs {
				t.Errorf("got %d attempts and %d runs, want 1 and %d", job.Attempts, runs.Load(), tc.runs)
			}
		})
	}
}

// waitForLateBytes returns when the attempt has learned of a restart of Redis, and no bytes of lost
// workers can arrive any more. Nothing is read back after it.
func waitForLateBytes(ctx context.Context, a *Attempt) {
	for ctx.Err() == nil {
		renewed := a.lease.Renewal()
		if left, unclean := a.lease.Late(); unclean {
			<-time.After(left)
			return
		}
		select {
		case <-renewed:
		case <-ctx.Done():
		}
	}
}

// TestWorkerKeepsItsJobInALongOutage: Redis is away for longer than a lease lasts. The worker keeps
// its job, although another worker could take it.
func TestWorkerKeepsItsJobInALongOutage(t *testing.T) {
	r := startRedis(t)
	c := dial(t, r.options)
	id := enqueue(t, c)
	began, over := make(chan string, 2), make(chan struct{})
	for _, name := range []string{"one", "two"} {
		serve(t, c, name, func(ctx context.Context, _ <-chan struct{}, a *Attempt) error {
			began <- name
			if err := receiveOrEnd(ctx, over); err != nil {
				return err
			}
			return awaitLate(ctx, a)
		})
	}
	transfertest.Receive(t, began, "start of the job")
	r.kill()
	<-time.After(2 * quick.lease) // the outage lasts this long
	r.start()
	awaitLease(t, c, id, 1) // its worker has renewed it
	close(over)
	if job := await(t, c, id, transfer.Succeeded); job.Attempts != 1 || len(began) > 0 {
		t.Errorf("got %d attempts and %d more starts, want 1 and none", job.Attempts, len(began))
	}
}

// TestAcquiredJobIsNotTriggeredAgain: a tick of maintenance that waits for Redis in an outage may have
// read the job before a worker acquired it. The worker's lease has lapsed then, and the worker renews
// it.
func TestAcquiredJobIsNotTriggeredAgain(t *testing.T) {
	c, ctx := dial(t, startRedis(t).options), t.Context()
	for _, acquired := range []bool{false, true} {
		id := enqueue(t, c)
		records, _, err := c.records(ctx, []string{id})
		if err != nil {
			t.Fatal(err)
		}
		queue, task := taskOf(records[0])
		if err := c.rdb.HSet(ctx, taskKey(queue, task), "state", "active").Err(); err != nil {
			t.Fatal(err)
		}
		if acquired {
			acquireAs(t, c, id, "one", nil)
			lapse(t, c, id, 0)
		}
		if err := c.wakeup.trigger(ctx, records[0]); err != nil {
			t.Fatal(err)
		}
		again := c.rdb.Keys(ctx, taskKey(queue, task)+":*").Val()
		if (len(again) == 0) != acquired {
			t.Errorf("acquired %t: got other triggers %q", acquired, again)
		}
	}
}

// TestTriggerOfAnEarlierEpochAcquiresNothing: it was made before another worker acquired the job, and
// arrives after an outage of Redis in which that worker's lease has lapsed.
func TestTriggerOfAnEarlierEpochAcquiresNothing(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c, ctx := dial(t, o), t.Context()
		id := enqueue(t, c)
		for _, tc := range []struct {
			task     string
			acquires bool
		}{{id + ":0", true}, {id + ":0", false}, {id + ":0:119720664", false}, {id + ":1:119720664", true}} {
			a, err := c.acquire(ctx, id, epochOf(tc.task), "w", lasting, nil)
			if err != nil || (a != nil) != tc.acquires {
				t.Errorf("trigger %s: got %t, %v; want %t", tc.task, a != nil, err, tc.acquires)
			}
			lapse(t, c, id, 0)
		}
	})
}

// TestServerStopsWithoutRedis: a server can stop while Redis is away. It cannot release its job,
// and another server takes the job when the lease has lapsed.
func TestServerStopsWithoutRedis(t *testing.T) {
	r := startRedis(t)
	c := dial(t, r.options)
	id := enqueue(t, c)
	s := NewServer(c, ServerConfig{Name: "one", Queues: []string{transfer.DefaultQueue}, Jobs: 2, Log: zap.NewNop(),
		Run: func(ctx context.Context, drain <-chan struct{}, _ *Attempt) error {
			<-drain
			return transfer.Errorf(transfer.CodeDrained, "", "stopping")
		},
	})
	s.timing = quick
	s.timing.drain = time.Second
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	await(t, c, id, transfer.Running)
	r.kill()
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("got %v, want no error", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the server has not stopped within 30 s")
	}
	r.start()
	serve(t, c, "two", succeed)
	await(t, c, id, transfer.Succeeded)
}

// TestFullRedisIsNoSpace: a full Redis refuses jobs and triggers with CodeNoSpace.
func TestFullRedisIsNoSpace(t *testing.T) {
	c := dial(t, startRedis(t).options)
	if err := c.rdb.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	_, err := c.Enqueue(t.Context(), newSpec())
	wantCode(t, err, transfer.CodeNoSpace)
	wantCode(t, c.wakeup.trigger(t.Context(), &record{id: "some", spec: newSpec()}), transfer.CodeNoSpace)
}

// TestTemporaryRefusalIsAnOutage: a refusal that ends by itself is an outage for a save. A command
// that Redis will never accept is not.
func TestTemporaryRefusalIsAnOutage(t *testing.T) {
	c := dial(t, startRedis(t).options)
	requireReplicas := func(n string) {
		if err := c.rdb.ConfigSet(t.Context(), "min-replicas-to-write", n).Err(); err != nil {
			t.Fatal(err)
		}
	}
	a := attempt(t, c)
	requireReplicas("1")
	wantCode(t, a.Save(t.Context(), &transfer.Checkpoint{}), transfer.CodeUnreachable)
	requireReplicas("0")
	wantCode(t, a.Save(t.Context(), &transfer.Checkpoint{}), "")
	wantCode(t, failed("send a command", c.rdb.Do(t.Context(), "nonsense").Err()), transfer.CodeFailed)
}

// setMaxMemory limits the memory of Redis, in bytes; 0: no limit. A goroutine of a server may call
// it.
func setMaxMemory(t *testing.T, c *Client, bytes string) {
	t.Helper()
	if err := c.rdb.ConfigSet(t.Context(), "maxmemory", bytes).Err(); err != nil {
		t.Errorf("set maxmemory: %v", err)
	}
}

// TestFullRedisCanBeEmptied: in a full Redis, a server can release its job and stop, and jobs can
// be canceled and pruned.
func TestFullRedisCanBeEmptied(t *testing.T) {
	c := dial(t, startRedis(t).options)
	runs := enqueue(t, c)
	stop := serve(t, c, "one", func(_ context.Context, drain <-chan struct{}, _ *Attempt) error {
		<-drain
		return transfer.Errorf(transfer.CodeDrained, "", "stopping")
	})
	await(t, c, runs, transfer.Running)
	for range 5 {
		spec := newSpec()
		spec.Queue = "not-served"
		if _, err := c.Enqueue(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
	}
	setMaxMemory(t, c, "1")
	began := time.Now()
	if stop(); time.Since(began) > quick.drain/2 {
		t.Errorf("got a stop of %s, want one that does not wait for memory", time.Since(began))
	}
	if n, err := c.CancelAll(t.Context(), []transfer.State{transfer.Queued}); n != 6 || err != nil {
		t.Errorf("got %d canceled jobs (%v), want 6", n, err)
	}
	if n, err := c.Prune(t.Context(), PruneOptions{}); n != 6 || err != nil {
		t.Errorf("got %d pruned jobs (%v), want 6", n, err)
	}
	setMaxMemory(t, c, "0")
}

// TestJobSurvivesAFullRedis: Redis is full for longer than a lease while a job runs. The worker
// keeps the job and waits as in an outage. The job ends when Redis has memory again.
func TestJobSurvivesAFullRedis(t *testing.T) {
	c := dial(t, startRedis(t).options)
	id := enqueue(t, c)
	var runs atomic.Int64
	for _, name := range []string{"one", "two"} {
		serve(t, c, name, func(ctx context.Context, _ <-chan struct{}, a *Attempt) error {
			runs.Add(1)
			if err := a.Save(ctx, &transfer.Checkpoint{Entries: entries(0, 3)}); err != nil {
				return err
			}
			setMaxMemory(t, c, "1")
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(2 * quick.lease):
			}
			wantCode(t, a.Save(ctx, &transfer.Checkpoint{Entries: entries(3, 3)}), transfer.CodeUnreachable)
			_, err := c.Enqueue(ctx, newSpec())
			wantCode(t, err, transfer.CodeNoSpace)
			setMaxMemory(t, c, "0")
			return a.Save(ctx, &transfer.Checkpoint{Entries: entries(3, 3)})
		})
	}
	if job := await(t, c, id, transfer.Succeeded); job.Attempts != 1 || runs.Load() != 1 {
		t.Errorf("got %d runs and %d attempts (error %+v), want 1 each", runs.Load(), job.Attempts, job.Error)
	}
	if _, at, err := c.Ledger(t.Context(), id); err != nil || len(at.Entries) != 6 {
		t.Errorf("got %d entries (%v), want 6", len(at.Entries), err)
	}
	setMaxMemory(t, c, "1")
	if n, err := c.Prune(t.Context(), PruneOptions{}); n != 1 || err != nil {
		t.Errorf("got %d pruned jobs (%v), want 1", n, err)
	}
	setMaxMemory(t, c, "0") // so that the servers can withdraw
}

// TestEvictingRedisIsRefused: a server does not serve a Redis that may evict jobs.
func TestEvictingRedisIsRefused(t *testing.T) {
	c := dial(t, startRedis(t).options)
	if err := c.rdb.ConfigSet(t.Context(), "maxmemory-policy", "allkeys-lru").Err(); err != nil {
		t.Fatal(err)
	}
	s := NewServer(c, ServerConfig{Name: "one", Jobs: 1})
	wantCode(t, s.Run(t.Context()), transfer.CodeInvalid)
}

// TestDialErrorsHideThePassword: errors of Dial have a code, and never the password.
func TestDialErrorsHideThePassword(t *testing.T) {
	for url, code := range map[string]transfer.Code{
		"redis://:s3cret@127.0.0.1:1/0": transfer.CodeUnreachable,
		"unix:///none/s":                transfer.CodeUnreachable,
		"http://:s3cret@h":              transfer.CodeInvalid,
		"redis://:s3cret@h:port":        transfer.CodeInvalid,
		"":                              transfer.CodeInvalid,
	} {
		_, err := Dial(t.Context(), Options{URL: url})
		if wantCode(t, err, code); strings.Contains(err.Error(), "s3cret") {
			t.Errorf("got %v, want an error without the password", err)
		}
	}
}
