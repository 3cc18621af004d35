package queue

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"
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
// first, and does not take a worker for dead that it would hear of a moment later.
func TestRedisHangs(t *testing.T) {
	r := startRedis(t)
	c, near, far := dial(t, r.options), startRelay(t, r.options), startRelay(t, r.options)
	// Nobody is told of these two jobs but by the reconciler.
	acquire := func(c *Client, worker string, lease time.Duration) *Attempt {
		id, timing := enqueue(t, c), quick
		timing.lease = lease
		a, err := c.acquire(t.Context(), id, worker, timing)
		if err != nil || a == nil {
			t.Fatal(a, err)
		}
		if err := c.wakeup.inspector.DeleteTask(transfer.DefaultQueue, id+":0"); err != nil {
			t.Fatal(err)
		}
		return a
	}
	dead, lives := acquire(c, "dead", time.Millisecond), acquire(dial(t, far.options), "lives", quick.lease)
	beating, rest := context.WithCancelCause(t.Context())
	var heart sync.WaitGroup
	heart.Go(func() { lives.beat(beating, rest, zap.NewNop()) })
	took := make(chan string, 2)
	serve(t, dial(t, near.options), "two", func(_ context.Context, _ <-chan struct{}, a *Attempt) error {
		took <- a.Job.ID
		return nil
	})
	if id := <-took; id != dead.Job.ID { // now it takes lapsed leases for deaths
		t.Fatalf("job %s was taken from a worker that lives", id)
	}
	near.gate.Lock()
	far.gate.Lock()
	awaitLease(t, c, lives.Job.ID, 0)
	near.gate.Unlock()
	select {
	case <-took:
		t.Error("a job was taken from a worker that lives")
	case <-time.After(4 * quick.tick):
	}
	far.gate.Unlock()
	awaitLease(t, c, lives.Job.ID, 1)
	if err := lives.settle(t.Context(), nil); err != nil {
		t.Error(err)
	}
	rest(nil)
	heart.Wait()
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

// TestManyWithoutTrigger makes triggers anew for more jobs than one tick may see to.
func TestManyWithoutTrigger(t *testing.T) {
	c := dial(t, startRedis(t).options)
	const n = page + 20
	for range n {
		enqueue(t, c)
	}
	if _, err := c.wakeup.inspector.DeleteAllPendingTasks(transfer.DefaultQueue); err != nil {
		t.Fatal(err)
	}
	s := NewServer(c, ServerConfig{Name: "one", Jobs: 1, Log: zap.NewNop()})
	for i, want := range []int{page, n, n} {
		more, err := s.reconcileOnce(t.Context(), true, true)
		if err != nil || more != (i == 0) {
			t.Errorf("tick %d: more is %v, %v", i, more, err)
		}
		if info, err := c.wakeup.inspector.GetQueueInfo(transfer.DefaultQueue); err != nil || info.Pending != want {
			t.Errorf("tick %d: %d triggers, not %d (%v)", i, info.Pending, want, err)
		}
	}
}

// TestDeadlineOfALostJob ends a job in time whose worker died, though nobody is there to take it up.
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
		if _, err := c.acquire(t.Context(), job.ID, "dead", short); err != nil {
			t.Fatal(err)
		}
		serve(t, c, "one", func(context.Context, <-chan struct{}, *Attempt) error { return nil })
		if job := await(t, c, job.ID, transfer.Failed); job.Error.Code != transfer.CodeDeadline {
			t.Errorf("it failed with %+v", job.Error)
		}
	})
}
