package queue

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/transfer"
)

// TestRedisRestarts kills Redis under a job that runs. The job goes on, nobody takes it, and its end is written when
// Redis is back.
func TestRedisRestarts(t *testing.T) {
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
		<-killed
		err := a.Save(ctx, &transfer.Checkpoint{Entries: entries(3, 3)})
		wantCode(t, err, transfer.CodeUnreachable)
		close(refused)
		<-back
		return untilNoneIsLate(ctx, a)
	})
	<-saved
	r.kill()
	close(killed)
	<-refused
	r.start()
	close(back)
	if job := await(t, c, id, transfer.Succeeded); job.Attempts != 1 || runs.Load() != 1 {
		t.Errorf("the job ran %d times, and has %d attempts", runs.Load(), job.Attempts)
	}
	if _, at, err := c.Ledger(t.Context(), id); err != nil || len(at.Entries) != 3 {
		t.Errorf("what was acknowledged is %d entries, %v", len(at.Entries), err)
	}
}

// untilNoneIsLate returns when Redis answers and no bytes of a lost worker can arrive, as a run does
// before it reads its target for the last time.
func untilNoneIsLate(ctx context.Context, a *Attempt) error {
	for ctx.Err() == nil {
		if a.renewLease(ctx) != nil {
			continue
		}
		left, _ := a.lease.Late()
		if left == 0 {
			return nil
		}
		select {
		case <-time.After(left):
		case <-ctx.Done():
		}
	}
	return context.Cause(ctx)
}

// TestRestartAtTheEndIsRunAgain: Redis is restarted while a run ends well. The job does not succeed
// by that run, because the Redis before may have given it to another worker; the next run knows.
// The attempt counts once, and no other job has the drive in between. A job that fails, or writes
// nothing, ends at once.
func TestRestartAtTheEndIsRunAgain(t *testing.T) {
	clone := transfer.NewSpec(transfer.Clone, transfer.Ref{Endpoint: "zrh", Drive: "d"}, transfer.Ref{Endpoint: "zrh"})
	for name, tc := range map[string]struct {
		spec  transfer.Spec
		fails error
		runs  int64
	}{
		"success":   {newSpec(), nil, 2},
		"failure":   {newSpec(), transfer.Errorf(transfer.CodeFailed, "", "broken"), 1},
		"no writes": {clone, nil, 1},
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
					return tc.fails
				}
				if _, unclean := a.lease.Late(); !unclean {
					t.Error("the second run does not know of the restart")
				}
				if err := untilNoneIsLate(ctx, a); err != nil {
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

// TestRedisAwayForLong keeps Redis away for longer than a lease lasts. The worker that runs the job keeps it, though
// another is there too.
func TestRedisAwayForLong(t *testing.T) {
	r := startRedis(t)
	c := dial(t, r.options)
	id := enqueue(t, c)
	began, over := make(chan string, 2), make(chan struct{})
	for _, name := range []string{"one", "two"} {
		serve(t, c, name, func(ctx context.Context, _ <-chan struct{}, a *Attempt) error {
			began <- name
			select {
			case <-over:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
	}
	<-began
	r.kill()
	lapsed := time.After(2 * quick.lease)
	<-lapsed
	r.start()
	// When the lease is there again, whoever is to take lapsed ones for deaths has looked.
	for c.rdb.Exists(t.Context(), leaseKey(id)).Val() == 0 {
	}
	close(over)
	if job := await(t, c, id, transfer.Succeeded); job.Attempts != 1 || len(began) > 0 {
		t.Errorf("the job has %d attempts", job.Attempts)
	}
}

// TestStopWithoutRedis stops a server whose Redis is away for good. It cannot hand its job back, which another takes up when
// the lease has lapsed.
func TestStopWithoutRedis(t *testing.T) {
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
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the server does not stop without Redis")
	}
	r.start()
	serve(t, c, "two", func(context.Context, <-chan struct{}, *Attempt) error { return nil })
	await(t, c, id, transfer.Succeeded)
}

// TestRedisFull tells what to do about it.
func TestRedisFull(t *testing.T) {
	c := dial(t, startRedis(t).options)
	if err := c.rdb.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	_, err := c.Enqueue(t.Context(), newSpec())
	wantCode(t, err, transfer.CodeNoSpace)
	wantCode(t, c.wakeup.trigger(t.Context(), &record{id: "some", spec: newSpec()}), transfer.CodeNoSpace)
}

// TestRedisNotReady takes an answer that will be another one in a while for an outage, not for a refusal.
func TestRedisNotReady(t *testing.T) {
	c := dial(t, startRedis(t).options)
	replicas := func(n string) {
		if err := c.rdb.ConfigSet(t.Context(), "min-replicas-to-write", n).Err(); err != nil {
			t.Fatal(err)
		}
	}
	a := attempt(t, c)
	replicas("1")
	wantCode(t, a.Save(t.Context(), &transfer.Checkpoint{}), transfer.CodeUnreachable)
	replicas("0")
	if err := a.Save(t.Context(), &transfer.Checkpoint{}); err != nil {
		t.Error(err)
	}
	wantCode(t, failed("do what it cannot", c.rdb.Do(t.Context(), "nonsense").Err()), transfer.CodeFailed)
}

// TestEmptyFullRedis makes room in a Redis that is full of jobs, one of which runs and is handed back meanwhile.
func TestEmptyFullRedis(t *testing.T) {
	c := dial(t, startRedis(t).options)
	room := func(bytes string) {
		if err := c.rdb.ConfigSet(t.Context(), "maxmemory", bytes).Err(); err != nil {
			t.Error(err)
		}
	}
	runs := enqueue(t, c)
	stop := serve(t, c, "one", func(_ context.Context, drain <-chan struct{}, _ *Attempt) error {
		<-drain
		return transfer.Errorf(transfer.CodeDrained, "", "stopping")
	})
	await(t, c, runs, transfer.Running)
	for range 5 {
		spec := newSpec()
		spec.Queue = "served-by-nobody"
		if _, err := c.Enqueue(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
	}
	room("1")
	began := time.Now()
	if stop(); time.Since(began) > quick.drain/2 {
		t.Error("who stops waits for room in Redis")
	}
	if n, err := c.CancelAll(t.Context(), []transfer.State{transfer.Queued}); n != 6 || err != nil {
		t.Errorf("%d jobs were canceled, %v", n, err)
	}
	if n, err := c.Prune(t.Context(), PruneOptions{}); n != 6 || err != nil {
		t.Errorf("%d jobs were pruned, %v", n, err)
	}
	room("0")
}

// TestRedisFullMeanwhile fills Redis up while a job runs, for longer than a lease. The worker keeps
// the job and waits as in an outage; the job ends when Redis has memory again.
func TestRedisFullMeanwhile(t *testing.T) {
	c := dial(t, startRedis(t).options)
	room := func(bytes string) {
		if err := c.rdb.ConfigSet(t.Context(), "maxmemory", bytes).Err(); err != nil {
			t.Error(err)
		}
	}
	id := enqueue(t, c)
	var runs atomic.Int64
	for _, name := range []string{"one", "two"} {
		serve(t, c, name, func(ctx context.Context, _ <-chan struct{}, a *Attempt) error {
			runs.Add(1)
			if err := a.Save(ctx, &transfer.Checkpoint{Entries: entries(0, 3)}); err != nil {
				return err
			}
			room("1")
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(2 * quick.lease):
			}
			wantCode(t, a.Save(ctx, &transfer.Checkpoint{Entries: entries(3, 3)}), transfer.CodeUnreachable)
			_, err := c.Enqueue(ctx, newSpec())
			wantCode(t, err, transfer.CodeNoSpace)
			room("0")
			return a.Save(ctx, &transfer.Checkpoint{Entries: entries(3, 3)})
		})
	}
	if job := await(t, c, id, transfer.Succeeded); job.Attempts != 1 || runs.Load() != 1 {
		t.Errorf("with a full Redis %d attempts ran, the last %+v", runs.Load(), job.Error)
	}
	if _, at, err := c.Ledger(t.Context(), id); err != nil || len(at.Entries) != 6 {
		t.Errorf("%d entries are saved, %v", len(at.Entries), err)
	}
	room("1")
	if n, err := c.Prune(t.Context(), PruneOptions{}); n != 1 || err != nil {
		t.Errorf("pruned %d jobs, %v, which would make room", n, err)
	}
	room("0") // for the servers to say goodbye
}

// TestForgetfulRedis refuses to serve a Redis that may drop jobs.
func TestForgetfulRedis(t *testing.T) {
	c := dial(t, startRedis(t).options)
	if err := c.rdb.ConfigSet(t.Context(), "maxmemory-policy", "allkeys-lru").Err(); err != nil {
		t.Fatal(err)
	}
	s := NewServer(c, ServerConfig{Name: "one", Jobs: 1})
	wantCode(t, s.Run(t.Context()), transfer.CodeInvalid)
}

// TestDialRefused says what is wrong, and never the password.
func TestDialRefused(t *testing.T) {
	for url, code := range map[string]transfer.Code{
		"redis://:s3cret@127.0.0.1:1/0": transfer.CodeUnreachable, "unix:///none/s": transfer.CodeUnreachable,
		"http://:s3cret@h": transfer.CodeInvalid, "redis://:s3cret@h:port": transfer.CodeInvalid, "": transfer.CodeInvalid,
	} {
		_, err := Dial(t.Context(), Options{URL: url})
		if wantCode(t, err, code); strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%v tells the password", err)
		}
	}
}
