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
	"github.com/transferd/transferd/internal/transfertest"
)

// relay passes bytes between a client and a Redis. While its gate is locked, it holds them back, as
// a network that drops packets does: it neither refuses nor answers.
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

// TestHangingRedisCostsNoWorkerItsJob: Redis hangs, with all connections open, until all leases
// have lapsed. The leader reaches Redis again before the worker does, and does not count it as
// lost.
func TestHangingRedisCostsNoWorkerItsJob(t *testing.T) {
	r := startRedis(t)
	c, near, far := dial(t, r.options), startRelay(t, r.options), startRelay(t, r.options)
	untriggered := func(c *Client, timing timing) *Attempt { // only maintenance triggers the job
		a := acquire(t, c, enqueue(t, c), timing)
		if err := c.wakeup.inspector.DeleteTask(transfer.DefaultQueue, a.Job.ID+":0"); err != nil {
			t.Fatal(err)
		}
		return a
	}
	dead, lives := untriggered(c, withLease(time.Millisecond)), untriggered(dial(t, far.options), quick)
	renewing, stopRenewing := context.WithCancelCause(t.Context())
	var renewal sync.WaitGroup
	renewal.Go(func() { lives.renewPeriodically(renewing, stopRenewing, zap.NewNop()) })
	started, ticked := make(chan string, 2), make(chan struct{}, 1)
	serve(t, dial(t, near.options), "two", func(ctx context.Context, _ <-chan struct{}, a *Attempt) error {
		started <- a.Job.ID
		return awaitLate(ctx, a)
	}, func(s *Server) { s.ticked = ticked })
	// After that its grace period is over.
	if id := transfertest.Receive(t, started, "job of the lost worker"); id != dead.Job.ID {
		t.Fatalf("got job %s, want that of the lost worker, %s", id, dead.Job.ID)
	}
	near.gate.Lock()
	far.gate.Lock()
	awaitLease(t, c, lives.Job.ID, 0)
	near.gate.Unlock()
	for range 5 { // the first signal may be from before
		transfertest.Receive(t, ticked, "tick of the leader")
	}
	if len(started) > 0 {
		t.Error("the leader has given the job of a living worker to another one")
	}
	far.gate.Unlock()
	awaitLease(t, c, lives.Job.ID, 1)
	writeOutcome(t, lives, nil)
	stopRenewing(nil)
	renewal.Wait()
	if job := await(t, c, lives.Job.ID, transfer.Succeeded); job.Attempts != 1 {
		t.Errorf("got %d attempts, want 1", job.Attempts)
	}
}

// awaitLease waits until a job has n leases, 0 or 1.
func awaitLease(t *testing.T, c *Client, id string, n int64) {
	t.Helper()
	transfertest.Until(t, fmt.Sprintf("the job has %d leases", n), func() bool {
		return c.rdb.Exists(t.Context(), leaseKey(id)).Val() == n
	})
}

// TestJobsDrainWhileRedisHangs: a server that stops drains its jobs at once, although asynq waits
// for Redis.
func TestJobsDrainWhileRedisHangs(t *testing.T) {
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
	transfertest.Receive(t, began, "start of the job")
	relay.gate.Lock()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		stop()
	}()
	select {
	case <-drained:
	case <-time.After(2 * time.Second):
		t.Error("the job was not drained within 2 s")
	}
	relay.gate.Unlock()
	transfertest.Receive(t, stopped, "end of the server")
	await(t, c, id, transfer.Queued)
}

// TestTriggerOfAKilledWorkerIsReplaced: a worker that is killed after it got a trigger, and before
// it acquired the job, loses no job.
func TestTriggerOfAKilledWorkerIsReplaced(t *testing.T) {
	c := dial(t, startRedis(t).options)
	id := enqueue(t, c)
	delivered, over := make(chan struct{}), make(chan struct{})
	killed := asynq.NewServerFromRedisClient(c.rdb, asynq.Config{
		Concurrency: 1, Queues: map[string]int{transfer.DefaultQueue: 1},
		Logger: asynqLog{zap.NewNop().Sugar()}, ShutdownTimeout: time.Millisecond,
	})
	err := killed.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error {
		close(delivered)
		<-over
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		close(over)
		killed.Shutdown()
	})
	transfertest.Receive(t, delivered, "trigger")
	killed.Stop() // its task stays active, because it still sends heartbeats
	serve(t, c, "one", succeed)
	await(t, c, id, transfer.Succeeded)
}

// TestTickMakesOnePageOfTriggers: a tick makes one page of triggers, and the next one makes the
// rest.
func TestTickMakesOnePageOfTriggers(t *testing.T) {
	c := dial(t, startRedis(t).options)
	const n = pageSize + 20
	for range n {
		enqueue(t, c)
	}
	if _, err := c.wakeup.inspector.DeleteAllPendingTasks(transfer.DefaultQueue); err != nil {
		t.Fatal(err)
	}
	makeDue(t, c)
	service := &triggers{client: c, timing: defaultTiming}
	for i, want := range []int{pageSize, n, n} {
		if err := service.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		if info, err := c.wakeup.inspector.GetQueueInfo(transfer.DefaultQueue); err != nil || info.Pending != want {
			t.Errorf("tick %d: got %d triggers (%v), want %d", i, info.Pending, err, want)
		}
	}
}

// TestDeadlineEndsALostJob: a deadline ends a job whose worker died, also if no other worker
// exists.
func TestDeadlineEndsALostJob(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		spec := newSpec()
		spec.Queue, spec.Deadline = "not-served", transfer.Seconds(100*time.Millisecond)
		job, err := c.Enqueue(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		acquire(t, c, job.ID, withLease(time.Millisecond)) // dies
		serve(t, c, "one", succeed)
		if job := await(t, c, job.ID, transfer.Failed); job.Error.Code != transfer.CodeDeadline {
			t.Errorf("got the error %+v, want %s", job.Error, transfer.CodeDeadline)
		}
	})
}

// commandCounter is a go-redis hook that counts commands by name.
type commandCounter struct{ names map[string]int }

func (c *commandCounter) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *commandCounter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, command redis.Cmder) error {
		c.names[command.Name()]++
		return next(ctx, command)
	}
}

func (c *commandCounter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) error {
		for _, command := range commands {
			c.names[command.Name()]++
		}
		return next(ctx, commands)
	}
}

// TestIdleTickReadsNoJob: with 10,000 queued jobs, a tick reads no job that is not due.
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
	timing.recheck, timing.leader, timing.grace = time.Hour, time.Minute, 0
	m := newMaintenance(c, "one", timing, zap.NewNop())
	sent := &commandCounter{names: make(map[string]int)}
	c.rdb.AddHook(sent)
	tick := func() {
		t.Helper()
		if err := m.tick(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if tick(); sent.names["hgetall"] != n {
		t.Errorf("the first tick: got %d jobs read, want %d", sent.names["hgetall"], n)
	}
	clear(sent.names)
	// One script renews the leadership, and four read the entries that are due.
	if tick(); !maps.Equal(sent.names, map[string]int{"evalsha": 5}) {
		t.Errorf("an idle tick: got the commands %v, want 5 scripts", sent.names)
	}
}

// services is the maintenance of a server whose grace period is over. The test calls Tick.
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

// TestLostOwnerIsFoundWhenTheLeaseLapses: a running job is due when its lease would lapse. If the
// lease was renewed, it is due again later; if not, it gets a trigger.
func TestLostOwnerIsFoundWhenTheLeaseLapses(t *testing.T) {
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
		id := enqueue(t, c)
		a := acquire(t, c, id, withLease(time.Hour))
		if tick(waiting); score(t, c, keyQueued, id) != 0 || score(t, c, keyRunning, id) == 0 {
			t.Error("got a running job outside of the set of running jobs")
		}
		tick(lost)
		lapses := now() + time.Hour.Milliseconds()
		if at := score(t, c, keyRunning, id); at > lapses || at < lapses-time.Minute.Milliseconds() {
			t.Errorf("got a job that is due at %d, want at the end of its lease, %d", at, lapses)
		}
		if err := c.wakeup.inspector.DeleteTask(transfer.DefaultQueue, id+":0"); err != nil {
			t.Fatal(err)
		}
		if err := c.rdb.Del(t.Context(), leaseKey(id)).Err(); err != nil {
			t.Fatal(err)
		}
		tick(lost)
		if _, err := c.wakeup.inspector.GetTaskInfo(transfer.DefaultQueue, id+":1"); err != nil {
			t.Errorf("got %v, want a trigger for the job that lost its worker", err)
		}
		if err := a.renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := a.release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if tick(lost); score(t, c, keyRunning, id) != 0 || score(t, c, keyQueued, id) == 0 {
			t.Error("got a queued job outside of the set of queued jobs")
		}
	})
}

// TestNewLeaderRestoresTheIndex: after the index is lost, a leader restores it once, with the jobs
// that have not ended.
func TestNewLeaderRestoresTheIndex(t *testing.T) {
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
				t.Error("got another index than that of the jobs that have not ended")
			}
		}
		if err := c.rdb.Del(t.Context(), keyQueued).Err(); err != nil {
			t.Fatal(err)
		}
		if err := again.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		if indexed(t, c, waits.ID) {
			t.Error("the leader has read all records again, want once per leadership")
		}
	})
}

// TestDeadlineEndsARunningJobWithoutWorker: maintenance does not end a late job that has a worker,
// nor in the grace period.
func TestDeadlineEndsARunningJobWithoutWorker(t *testing.T) {
	c := dial(t, startRedis(t).options)
	spec := newSpec()
	spec.Deadline = transfer.Seconds(time.Millisecond)
	job, err := c.Enqueue(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	acquire(t, c, job.ID, quick)
	_, late, _, _ := services(c)
	for _, step := range []struct {
		since time.Time
		lost  bool
		want  transfer.State
	}{
		{time.Time{}, false, transfer.Running},
		{time.Now(), true, transfer.Running}, // in the grace period
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
			t.Errorf("got state %s (%v), want %s", got.State, err, step.want)
		}
	}
}

// TestOldEntryWithoutRecordIsDropped: maintenance drops an entry without a record, unless the
// record may still follow.
func TestOldEntryWithoutRecordIsDropped(t *testing.T) {
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
			t.Errorf("age %s: got an entry: %v, want %v", age, got, want)
		}
	}
}
