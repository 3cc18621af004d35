package queue

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/embedded"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
)

// quick is a timing for tests: a takeover takes a second instead of 18.
var quick = timing{
	lease: 800 * time.Millisecond, claim: time.Second, renew: 40 * time.Millisecond, tick: 40 * time.Millisecond,
	recheck: 200 * time.Millisecond, reindex: 5 * time.Second, grace: time.Second, late: 300 * time.Millisecond,
	leader: 600 * time.Millisecond, drain: 20 * time.Second, taskCheck: 20 * time.Millisecond,
}

func TestMain(m *testing.M) {
	embedded.KeepIfAsked()
	os.Exit(m.Run())
}

// redisServer is the path of redis-server, which these tests need.
func redisServer(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("redis-server is missing (Debian, Ubuntu: apt-get install redis-server)")
	}
	return path
}

// realRedis is a redis-server of the test's own that can be killed and started again.
type realRedis struct {
	t       testing.TB
	dir     string
	cmd     *exec.Cmd
	options Options
}

func startRedis(t testing.TB) *realRedis {
	t.Helper()
	r := &realRedis{t: t, dir: t.TempDir()}
	r.options = Options{URL: "unix://" + filepath.Join(r.dir, "s")}
	r.start()
	t.Cleanup(r.kill)
	return r
}

func (r *realRedis) start() {
	r.t.Helper()
	r.cmd = exec.Command(redisServer(r.t), "--port", "0", "--unixsocket", filepath.Join(r.dir, "s"), "--dir", r.dir,
		"--appendonly", "yes", "--appendfsync", "always", "--save", "", "--logfile", filepath.Join(r.dir, "log"))
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	awaitRedis(r.t, r.options)
}

// awaitRedis returns when a Redis that was started answers.
func awaitRedis(t testing.TB, o Options) {
	t.Helper()
	transfertest.Until(t, "Redis answers", func() bool {
		c, err := Dial(context.Background(), o)
		if err != nil {
			return false
		}
		_ = c.Close()
		return true
	})
}

func (r *realRedis) kill() {
	_ = r.cmd.Process.Signal(syscall.SIGKILL)
	_ = r.cmd.Wait()
}

// eachQueue runs a test on every kind of queue.
func eachQueue(t *testing.T, test func(t *testing.T, o Options)) {
	t.Run("redis", func(t *testing.T) { test(t, startRedis(t).options) })
	for name, server := range map[string]string{"child": redisServer(t), "memory": ""} {
		t.Run(name, func(t *testing.T) {
			e := embed(t, t.TempDir(), server)
			t.Cleanup(func() { closeEmbedded(t, e) })
			test(t, optionsOf(e))
		})
	}
}

func embed(t testing.TB, dir, server string) *embedded.Redis {
	t.Helper()
	cfg := embedded.Config{Dir: dir, Server: server, Schema: Schema{}, Log: zap.NewNop()}
	r, err := embedded.Start(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func closeEmbedded(t testing.TB, r *embedded.Redis) {
	t.Helper()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func optionsOf(r *embedded.Redis) Options { return Options{URL: r.URL()} }

func dial(t testing.TB, o Options) *Client {
	t.Helper()
	c, err := Dial(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func newSpec() transfer.Spec {
	s := transfer.NewSpec(transfer.Upload, transfer.Ref{Path: "/images/disk.img"}, transfer.Ref{Endpoint: "zrh"})
	s.Name = "disk"
	return s
}

func enqueue(t testing.TB, c *Client) string {
	t.Helper()
	job, err := c.Enqueue(t.Context(), newSpec())
	if err != nil {
		t.Fatal(err)
	}
	return job.ID
}

type runFunc func(ctx context.Context, drain <-chan struct{}, a *Attempt) error

// serve runs a server until stop is called or the test ends; stop waits for it. It returns when the
// server takes jobs.
func serve(t testing.TB, c *Client, name string, run runFunc, options ...func(*Server)) (stop func()) {
	t.Helper()
	s := NewServer(c, ServerConfig{
		Name: name, Queues: []string{transfer.DefaultQueue}, Jobs: 2, Run: run, Log: zap.NewNop(),
	})
	s.timing = quick
	for _, option := range options {
		option(s)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(cancel)
	select {
	case <-s.started:
	case err := <-ended:
		t.Fatalf("server %s ended before it took jobs: %v", name, err)
	case <-time.After(time.Minute):
		t.Fatalf("server %s has not started within a minute", name)
	}
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("server %s ended with %v, want no error", name, err)
			}
		case <-time.After(time.Minute):
			t.Errorf("server %s has not ended within a minute", name)
		}
	})
	t.Cleanup(stop)
	return stop
}

// await watches a job until it is in the state, for a minute at most.
func await(t testing.TB, c *Client, id string, state transfer.State) transfer.Job {
	t.Helper()
	return awaitJob(t, c, id, string(state), func(j *transfer.Job) bool { return j.State == state })
}

// awaitJob watches a job until it is as wanted, for a minute at most.
func awaitJob(t testing.TB, c *Client, id, want string, is func(*transfer.Job) bool) transfer.Job {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var job transfer.Job
	var err error
	for job, err = range c.Watch(ctx, id) {
		if err != nil {
			t.Fatalf("watch job %s: %v", id, err)
		}
		if is(&job) {
			return job
		}
	}
	t.Fatalf("got a job that is %s (%+v), want %s", job.State, job.Error, want)
	return transfer.Job{}
}

// acquire makes an attempt of a job, as soon as the lease of the previous one has lapsed.
func acquire(t testing.TB, c *Client, id string, timing timing) (a *Attempt) {
	t.Helper()
	transfertest.Until(t, "the job has no owner", func() bool {
		var err error
		if a, err = c.acquire(t.Context(), id, anyEpoch, "w", timing, nil); err != nil {
			t.Fatal(err)
		}
		return a != nil
	})
	return a
}

// withLease is quick with another lease.
func withLease(lease time.Duration) timing {
	t := quick
	t.lease = lease
	return t
}

// writeOutcome ends an attempt.
func writeOutcome(t testing.TB, a *Attempt, outcome error) {
	t.Helper()
	if _, err := a.writeOutcome(t.Context(), outcome); err != nil {
		t.Fatalf("write the outcome %v: %v", outcome, err)
	}
}

// succeed is a run that succeeds.
func succeed(ctx context.Context, _ <-chan struct{}, a *Attempt) error { return awaitLate(ctx, a) }

// awaitLate returns when Redis answers and no bytes of a lost worker can arrive, as a run does
// before it reads its target for the last time.
func awaitLate(ctx context.Context, a *Attempt) error {
	for ctx.Err() == nil {
		if a.renewLease(ctx) != nil {
			continue
		}
		left := a.lease.Settle()
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

// receiveOrEnd waits in a run for a signal of the test, or for the end of the run.
func receiveOrEnd(ctx context.Context, signal <-chan struct{}) error {
	select {
	case <-signal:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// entries is n entries from the index on.
func entries(from, n int64) []transfer.Entry {
	var list []transfer.Entry
	for i := from; i < from+n; i++ {
		list = append(list, transfer.Entry{Index: i, Digest: transfer.Digest{byte(i), 1}})
	}
	return list
}

func wantCode(t testing.TB, err error, code transfer.Code) {
	t.Helper()
	if transfer.CodeOf(err) != code {
		t.Errorf("got %v (%q), want %q", err, transfer.CodeOf(err), code)
	}
}

// now is the time by this host's clock, in ms. Every Redis of a test but shiftedRedis has it too.
func now() int64 { return time.Now().UnixMilli() }
