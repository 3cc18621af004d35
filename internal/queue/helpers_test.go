package queue

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/embedded"
	"github.com/transferd/transferd/internal/transfer"
)

// quick is a queue's timing for tests: what takes a worker that died 18 seconds takes a second here.
var quick = timing{
	lease: 800 * time.Millisecond, claim: time.Second, renew: 40 * time.Millisecond, tick: 40 * time.Millisecond,
	recheck: 200 * time.Millisecond, reindex: 5 * time.Second, calm: time.Second, late: 300 * time.Millisecond,
	leader: 600 * time.Millisecond, drain: 20 * time.Second, taskCheck: 20 * time.Millisecond,
}

func TestMain(m *testing.M) {
	embedded.KeepIfAsked()
	os.Exit(m.Run())
}

// redisServer is the program, without which these tests mean nothing.
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
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	retry := time.NewTicker(10 * time.Millisecond)
	defer retry.Stop()
	for {
		c, err := Dial(ctx, o)
		if err == nil {
			_ = c.Close()
			return
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			t.Fatal(err)
		}
	}
}

func (r *realRedis) kill() {
	_ = r.cmd.Process.Signal(syscall.SIGKILL)
	_ = r.cmd.Wait()
}

// eachQueue runs a test on every kind of queue there is.
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
	r, err := embedded.Start(context.Background(), embedded.Config{Dir: dir, Server: server, Schema: Schema{}, Log: zap.NewNop()})
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

// serve runs a server until stop is called, or the test ends; stop waits for it. It returns when the server takes jobs.
func serve(t testing.TB, c *Client, name string, run runFunc, options ...func(*Server)) (stop func()) {
	t.Helper()
	s := NewServer(c, ServerConfig{Name: name, Queues: []string{transfer.DefaultQueue}, Jobs: 2, Run: run, Log: zap.NewNop()})
	s.timing = quick
	for _, option := range options {
		option(s)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	select {
	case <-s.started:
	case err := <-ended:
		ended <- err
	}
	stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("server %s: %v", name, err)
		}
		ended <- nil
	}
	t.Cleanup(stop)
	return stop
}

// await watches a job until it is in the state.
func await(t testing.TB, c *Client, id string, state transfer.State) transfer.Job {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for job, err := range c.Watch(ctx, id) {
		if err != nil {
			t.Fatalf("watch: %v", err)
		}
		if job.State == state {
			return job
		}
		if job.State.Terminal() {
			t.Fatalf("the job is %s (%+v), not %s", job.State, job.Error, state)
		}
	}
	t.Fatal("the watch ended")
	return transfer.Job{}
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

// now is the clock of this host, in ms, which is that of every Redis but those of TestClock.
func now() int64 { return time.Now().UnixMilli() }
