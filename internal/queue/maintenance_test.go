package queue

import (
	"context"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/transfer"
)

// relay passes bytes to a Redis and back. While its gate is locked it holds them back, as a network that drops packets:
// nothing is refused, and nothing is answered.
type relay struct {
	options Options
	gate    sync.RWMutex
}

func startRelay(t *testing.T, to Options) *relay {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	r := &relay{options: Options{URL: "unix://" + path}}
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("unix", strings.TrimPrefix(to.URL, "unix://"))
			if err != nil {
				_ = near.Close()
				continue
			}
			go r.pass(far, near)
			go r.pass(near, far)
		}
	}()
	return r
}

// pass returns when one of the two has ended.
func (r *relay) pass(to, from net.Conn) {
	defer to.Close()
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		r.gate.RLock()
		_, writeErr := to.Write(b[:n])
		r.gate.RUnlock()
		if err != nil || writeErr != nil {
			return
		}
	}
}

// TestRedisHangs has Redis fall silent, without a connection lost, until all leases have lapsed. The reconciler is back
// first, and does not take a worker for dead that renews its lease a moment later.
func TestRedisHangs(t *testing.T) {
	r := startRedis(t)
	c, near, far := dial(t, r.options), startRelay(t, r.options), startRelay(t, r.options)
	// Only maintenance triggers these two jobs.
	acquire := func(c *Client, worker string, lease time.Duration) *Attempt {
		id, timing := enqueue(t, c), quick
		timing.lease = lease
		a, err := c.acquire(t.Context(), id, worker, timing, nil)
		if err != nil || a == nil {
			t.Fatal(a, err)
		}
		if err := c.wakeup.inspector.DeleteTask(transfer.DefaultQueue, id+":0"); err != nil {
			t.Fatal(err)
		}
		return a
	}
	dead, lives := acquire(c, "dead", time.Millisecond), acquire(dial(t, far.options), "lives", quick.lease)
	renewing, stopRenewing := context.WithCancelCause(t.Context())
	var renewal sync.WaitGroup
	renewal.Go(func() { lives.keepLease(renewing, stopRenewing, zap.NewNop()) })
	took, ticked := make(chan string, 2), make(chan struct{}, 1)
	serve(t, dial(t, near.options), "two", func(_ context.Context, _ <-chan struct{}, a *Attempt) error {
		took <- a.Job.ID
		return nil
	}, func(s *Server) { s.ticked = ticked })
	if id := <-took; id != dead.Job.ID { // now it takes lapsed leases for deaths
		t.Fatalf("job %s was taken from a worker that lives", id)
	}
	near.gate.Lock()
	far.gate.Lock()
	awaitLease(t, c, lives.Job.ID, 0)
	near.gate.Unlock()
	for range 5 { // the first signal may be from before
		select {
		case <-took:
			t.Error("a job was taken from a worker that lives")
		case <-ticked:
		}
	}
	far.gate.Unlock()
	awaitLease(t, c, lives.Job.ID, 1)
	if err := lives.writeOutcome(t.Context(), nil); err != nil {
		t.Error(err)
	}
	stopRenewing(nil)
	renewal.Wait()
	if job := await(t, c, lives.Job.ID, transfer.Succeeded); job.Attempts != 1 {
		t.Errorf("the job has %d attempts", job.Attempts)
	}
}

// awaitLease asks Redis, past any relay, until a job has a lease, 1, or none, 0.
func awaitLease(t *testing.T, c *Client, id string, n int64) {
	t.Helper()
	for began := time.Now(); c.rdb.Exists(t.Context(), leaseKey(id)).Val() != n; {
		if time.Since(began) > time.Minute {
			t.Fatalf("the job has not %d leases", n)
		}
	}
}

// TestStopWhileRedisHangs has jobs hand themselves back at once, though asynq waits for Redis.
func TestStopWhileRedisHangs(t *testing.T) {
	r := startRedis(t)
	c, relay := dial(t, r.options), startRelay(t, r.options)
	id := enqueue(t, c)
	began, drained := make(chan struct{}), make(chan struct{})
	stop := serve(t, dial(t, relay.options), "one", func(_ context.Context, drain <-chan struct{}, _ *Attempt) error {
		close(began)
		<-drain
		close(drained)
		return transfer.Errorf(transfer.CodeDrained, "", "stopping")
	})
	<-began
	relay.gate.Lock()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		stop()
	}()
	select {
	case <-drained:
	case <-time.After(2 * time.Second):
		t.Error("the job was not told")
	}
	relay.gate.Unlock()
	<-stopped
	await(t, c, id, transfer.Queued)
}

// TestKilledBeforeTakingUp is a worker that was told of a job, and is gone before it has a lease on it.
func TestKilledBeforeTakingUp(t *testing.T) {
	c := dial(t, startRedis(t).options)
	id := enqueue(t, c)
	told, over := make(chan struct{}), make(chan struct{})
	gone := asynq.NewServerFromRedisClient(c.rdb, asynq.Config{
		Concurrency: 1, Queues: map[string]int{transfer.DefaultQueue: 1}, Logger: asynqLog{zap.NewNop().Sugar()}, ShutdownTimeout: time.Millisecond,
	})
	err := gone.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error {
		close(told)
		<-over
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	<-told
	gone.Stop() // its task stays active, for it says that it lives
	serve(t, c, "one", func(context.Context, <-chan struct{}, *Attempt) error { return nil })
	await(t, c, id, transfer.Succeeded)
	close(over)
	gone.Shutdown()
}

// TestManyWithoutTrigger makes new triggers for more jobs than one tick may see to.
func TestManyWithoutTrigger(t *testing.T) {
	c := dial(t, startRedis(t).options)
	const n = page + 20
	for range n {
		enqueue(t, c)
	}
	if _, err := c.wakeup.inspector.DeleteAllPendingTasks(transfer.DefaultQueue); err != nil {
		t.Fatal(err)
	}
	makeDue(t, c)
	service := &triggers{client: c, timing: defaultTiming}
	for i, want := range []int{page, n, n} {
		if err := service.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		if info, err := c.wakeup.inspector.GetQueueInfo(transfer.DefaultQueue); err != nil || info.Pending != want {
			t.Errorf("tick %d: %d triggers, not %d (%v)", i, info.Pending, want, err)
		}
	}
}

// TestDeadlineOfALostJob: a deadline ends a job whose worker died, also if no other worker exists.
func TestDeadlineOfALostJob(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		spec := newSpec()
		spec.Queue, spec.Deadline = "served-by-nobody", transfer.Seconds(100*time.Millisecond)
		job, err := c.Enqueue(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		short := quick
		short.lease = time.Millisecond
		if _, err := c.acquire(t.Context(), job.ID, "dead", short, nil); err != nil {
			t.Fatal(err)
		}
		serve(t, c, "one", func(context.Context, <-chan struct{}, *Attempt) error { return nil })
		if job := await(t, c, job.ID, transfer.Failed); job.Error.Code != transfer.CodeDeadline {
			t.Errorf("it failed with %+v", job.Error)
		}
	})
}

// count is a go-redis hook that counts commands by name.
type count struct{ names map[string]int }

func (c *count) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *count) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, command redis.Cmder) error {
		c.names[command.Name()]++
		return next(ctx, command)
	}
}

func (c *count) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) error {
		for _, command := range commands {
			c.names[command.Name()]++
		}
		return next(ctx, commands)
	}
}

// TestIdleTickReadsNoJob has 10,000 jobs wait: a tick reads none of them before their time has come.
func TestIdleTickReadsNoJob(t *testing.T) {
	c := dial(t, startRedis(t).options)
	const n = 10_000
	_, err := c.rdb.Pipelined(t.Context(), func(p redis.Pipeliner) error {
		s := situation{state: transfer.Queued}
		for i := range n {
			id := strconv.Itoa(i)
			p.HSet(t.Context(), recordKey(id), s.record())
			p.HSet(t.Context(), taskKey(transfer.DefaultQueue, fmt.Sprintf("%d:%d", i, testEpoch)), "state", "pending")
			p.ZAdd(t.Context(), keyJobs, redis.Z{Score: float64(now()), Member: id})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	timing := defaultTiming
	timing.recheck, timing.leader, timing.calm = time.Hour, time.Minute, 0
	m := newMaintenance(c, "one", timing, zap.NewNop())
	sent := &count{names: make(map[string]int)}
	c.rdb.AddHook(sent)
	tick := func() {
		t.Helper()
		if err := m.tick(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if tick(); sent.names["hgetall"] != n {
		t.Errorf("the first tick read %d jobs, want %d", sent.names["hgetall"], n)
	}
	clear(sent.names)
	// The election, and what is due of the three sets.
	if tick(); !maps.Equal(sent.names, map[string]int{"evalsha": 4}) {
		t.Errorf("an idle tick sent %v, want 4 scripts", sent.names)
	}
}

// services is maintenance of a server that has led for long enough, with no tick of its own.
func services(c *Client) (l *lostOwners, d *deadlines, tr *triggers, r *reindex) {
	led := &leader{client: c, timing: quick, log: zap.NewNop(), since: time.Now().Add(-time.Hour)}
	return &lostOwners{c, led}, &deadlines{c, led}, &triggers{c, quick}, &reindex{client: c, leader: led}
}

// score is when a job of a set is due, in ms; 0: it is not in the set.
func score(t *testing.T, c *Client, set, id string) int64 {
	t.Helper()
	at, err := c.rdb.ZScore(t.Context(), set, id).Result()
	if err != nil && err != redis.Nil { //nolint:errorlint // go-redis returns it bare
		t.Fatal(err)
	}
	return int64(at)
}

// TestLookFollowsTheLease has a job looked at when its lease would lapse, again if it was renewed, and then found lost.
func TestLookFollowsTheLease(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		lost, _, waiting, _ := services(c)
		tick := func(s service) {
			t.Helper()
			makeDue(t, c)
			if err := s.Tick(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		long := quick
		long.lease = time.Hour
		id := enqueue(t, c)
		a, err := c.acquire(t.Context(), id, "w", long, nil)
		if err != nil || a == nil {
			t.Fatal(a, err)
		}
		if tick(waiting); score(t, c, keyQueued, id) != 0 || score(t, c, keyRunning, id) == 0 {
			t.Error("a job that runs was not moved to the set of those that run")
		}
		tick(lost)
		lapses := now() + long.lease.Milliseconds()
		if at := score(t, c, keyRunning, id); at > lapses || at < lapses-time.Minute.Milliseconds() {
			t.Errorf("the job is due at %d, want at the end of its lease, %d", at, lapses)
		}
		if err := c.wakeup.inspector.DeleteTask(transfer.DefaultQueue, id+":0"); err != nil {
			t.Fatal(err)
		}
		if err := c.rdb.Del(t.Context(), leaseKey(id)).Err(); err != nil {
			t.Fatal(err)
		}
		tick(lost)
		if _, err := c.wakeup.inspector.GetTaskInfo(transfer.DefaultQueue, id+":1"); err != nil {
			t.Errorf("a job that lost its worker has no trigger: %v", err)
		}
		if err := a.renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := a.release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if tick(lost); score(t, c, keyRunning, id) != 0 || score(t, c, keyQueued, id) == 0 {
			t.Error("a job that waits was not moved to the set of those that wait")
		}
	})
}

// TestIndexLost takes all of the index away. Who leads next makes it again, of the jobs that have not ended.
func TestIndexLost(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		spec := newSpec()
		spec.Deadline = transfer.Seconds(time.Hour)
		waits, err := c.Enqueue(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		runs, ended := attempt(t, c).Job.ID, enqueue(t, c)
		if _, err := c.Cancel(t.Context(), ended); err != nil {
			t.Fatal(err)
		}
		if err := c.rdb.Del(t.Context(), keyQueued).Err(); err != nil {
			t.Fatal(err)
		}
		if err := c.rdb.Del(t.Context(), keyDeadlines).Err(); err != nil {
			t.Fatal(err)
		}
		_, _, _, again := services(c)
		for range 2 { // the second time it has nothing to do
			if err := again.Tick(t.Context()); err != nil {
				t.Fatal(err)
			}
			if score(t, c, keyQueued, waits.ID) == 0 || score(t, c, keyRunning, runs) == 0 || indexed(t, c, ended) ||
				score(t, c, keyDeadlines, waits.ID) != waits.Deadline.UnixMilli() {
				t.Error("the index is not that of the jobs that have not ended")
			}
		}
		if err := c.rdb.Del(t.Context(), keyQueued).Err(); err != nil {
			t.Fatal(err)
		}
		if err := again.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		if indexed(t, c, waits.ID) {
			t.Error("all records were read again in the same leadership")
		}
	})
}

// TestDeadlineOfARunningJob leaves a job to its worker as long as that lives, and ends it when the worker has died.
func TestDeadlineOfARunningJob(t *testing.T) {
	c := dial(t, startRedis(t).options)
	spec := newSpec()
	spec.Deadline = transfer.Seconds(time.Millisecond)
	job, err := c.Enqueue(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := c.acquire(t.Context(), job.ID, "w", quick, nil); a == nil || err != nil {
		t.Fatal(a, err)
	}
	_, late, _, _ := services(c)
	for _, step := range []struct {
		since time.Time
		lost  bool
		want  transfer.State
	}{
		{time.Time{}, false, transfer.Running},
		{time.Now(), true, transfer.Running}, // that its lease has lapsed says nothing yet
		{time.Time{}, true, transfer.Failed},
	} {
		if step.lost {
			if err := c.rdb.Del(t.Context(), leaseKey(job.ID)).Err(); err != nil {
				t.Fatal(err)
			}
		}
		makeDue(t, c)
		late.leader.since = step.since
		if err := late.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, err := c.Job(t.Context(), job.ID); err != nil || got.State != step.want {
			t.Errorf("the job is %s (%v), want %s", got.State, err, step.want)
		}
	}
}

// TestEntryWithoutRecord drops an entry whose record was never made, but not before that may still happen.
func TestEntryWithoutRecord(t *testing.T) {
	c := dial(t, startRedis(t).options)
	_, _, waiting, _ := services(c)
	for age, want := range map[time.Duration]bool{0: true, 2 * dangling: false} {
		id := age.String()
		if err := c.addToIndex(t.Context(), &record{id: id, created: time.Now().Add(-age)}, ""); err != nil {
			t.Fatal(err)
		}
		makeDue(t, c)
		if err := waiting.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := indexed(t, c, id); got != want {
			t.Errorf("after %s the entry is there: %v, want %v", age, got, want)
		}
	}
}
