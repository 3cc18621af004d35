package embedded

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/transfer"
)

func TestMain(m *testing.M) {
	KeepIfAsked()
	os.Exit(m.Run())
}

// testSchema keeps keys that begin with "kept:", and one script that appends to them.
type testSchema struct{}

const appendSource = `return redis.call('APPEND', KEYS[1], ARGV[1])`

func (testSchema) Durable(key string) bool { return strings.HasPrefix(key, "kept:") }
func (testSchema) Scripts() []string       { return []string{appendSource} }
func (testSchema) Lease([]string) string   { return "" }

var appendScript = redis.NewScript(appendSource)

// redisServer is the path of the program, without which these tests show nothing.
func redisServer(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("redis-server is missing (Debian, Ubuntu: apt-get install redis-server)")
	}
	return path
}

func config(dir, server string) Config {
	return Config{Dir: dir, Server: server, Schema: testSchema{}, Log: zap.NewNop()}
}

func start(t testing.TB, dir, server string) *Redis {
	t.Helper()
	r, err := Start(context.Background(), config(dir, server))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func stop(t testing.TB, r *Redis) {
	t.Helper()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func dial(t testing.TB, url string) *redis.Client {
	t.Helper()
	o, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	o.MaxRetries = -1
	rdb := redis.NewClient(o)
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// write appends a word to a durable key.
func write(t testing.TB, rdb *redis.Client, key, word string) {
	t.Helper()
	if err := appendScript.Run(t.Context(), rdb, []string{"kept:" + key}, word).Err(); err != nil {
		t.Fatal(err)
	}
}

func want(t testing.TB, rdb *redis.Client, key, word string) {
	t.Helper()
	if got, err := rdb.Get(t.Context(), "kept:"+key).Result(); got != word || err != nil {
		t.Errorf("%s: got %q (%v), want %q", key, got, err, word)
	}
}

func wantCode(t testing.TB, err error, code transfer.Code) {
	t.Helper()
	if transfer.CodeOf(err) != code {
		t.Errorf("got %v (%q), want %q", err, transfer.CodeOf(err), code)
	}
}

// processID is that of the redis-server that rdb reaches.
func processID(t *testing.T, rdb *redis.Client) int {
	t.Helper()
	info, err := rdb.InfoMap(t.Context(), "server").Result()
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(info["Server"]["process_id"])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// abandon leaves the redis-server and the folder as a process that was killed leaves them.
func (r *Redis) abandon(t *testing.T) {
	t.Helper()
	close(r.stop)
	r.watched()
	close(r.engine.(*child).stop)
	r.engine.(*child).kept()
	if err := errors.Join(r.owner.Close(), r.lock.Unlock()); err != nil {
		t.Fatal(err)
	}
}

// TestBothDie kills the redis-server together with its transferd, in the middle of writes. All that were acknowledged are
// there in the next transferd's.
func TestBothDie(t *testing.T) {
	dir := t.TempDir()
	first := start(t, dir, redisServer(t))
	rdb := dial(t, first.URL())
	pid, acknowledged := processID(t, rdb), []string{}
	enough := make(chan struct{})
	killed := make(chan error, 1)
	go func() {
		<-enough
		killed <- syscall.Kill(pid, syscall.SIGKILL)
	}()
	first.abandon(t)
	for n := 0; ; n++ {
		key := strconv.Itoa(n)
		if err := rdb.Set(t.Context(), key, "x", 0).Err(); err != nil {
			break
		}
		if acknowledged = append(acknowledged, key); n == 100 {
			close(enough)
		}
	}
	if err := <-killed; err != nil {
		t.Fatal(err)
	}
	second := start(t, dir, redisServer(t))
	t.Cleanup(func() { stop(t, second) })
	rdb = dial(t, second.URL())
	if n, err := rdb.Exists(t.Context(), acknowledged...).Result(); int(n) != len(acknowledged) || err != nil {
		t.Errorf("got %d of %d acknowledged keys (%v)", n, len(acknowledged), err)
	}
}

// TestChildOutlives is a transferd that was killed: its redis-server lives on, and the next transferd takes it over.
func TestChildOutlives(t *testing.T) {
	dir := t.TempDir()
	first := start(t, dir, redisServer(t))
	rdb := dial(t, first.URL())
	write(t, rdb, "a", "1")
	pid := processID(t, rdb)
	_, err := Start(t.Context(), config(dir, redisServer(t)))
	wantCode(t, err, transfer.CodeConflict)
	first.abandon(t)
	second := start(t, dir, redisServer(t))
	t.Cleanup(func() { stop(t, second) })
	url, err := Find(dir)
	if err != nil || url != second.URL() {
		t.Fatalf("found %v, %v", url, err)
	}
	rdb = dial(t, url)
	want(t, rdb, "a", "1")
	if got := processID(t, rdb); got != pid {
		t.Errorf("got process %d, want %d", got, pid)
	}
}

// TestLongFolder is a state folder whose name is too long for a socket.
func TestLongFolder(t *testing.T) {
	dir := t.TempDir() + "/" + strings.Repeat("long", 30)
	for _, server := range []string{redisServer(t), ""} {
		if server == "" {
			dir += "2"
		}
		r := start(t, dir, server)
		write(t, dial(t, r.URL()), "a", "1")
		stop(t, r)
		if _, err := Find(dir); err == nil {
			t.Error("a Redis that was stopped is found")
		}
		r = start(t, dir, server)
		want(t, dial(t, r.URL()), "a", "1")
		stop(t, r)
	}
}

// TestDoesNotStart says why an embedded Redis does not start, and lets the next one try.
func TestDoesNotStart(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, "")
	for _, key := range []string{"a", "b", "c"} {
		write(t, dial(t, r.URL()), key, "1")
	}
	stop(t, r)
	journal := filepath.Join(dir, journalFile)
	whole, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Clone(whole)
	damaged[frameHeader] ^= 1
	if err := os.WriteFile(journal, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Start(t.Context(), config(dir, ""))
	wantCode(t, err, transfer.CodeFailed)
	if err := os.WriteFile(journal, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	stop(t, start(t, dir, ""))
	// A program that is no redis-server, and one that is told to stop before it serves.
	if _, err := Start(t.Context(), config(t.TempDir(), "/bin/true")); err == nil || !strings.Contains(err.Error(), "redis.log") {
		t.Errorf("a redis-server that ends at once: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Start(ctx, config(t.TempDir(), redisServer(t))); err == nil {
		t.Error("it started though it was told to stop")
	}
}

// TestServerGone refuses to begin an empty queue where redis-server kept one, and goes on in memory where memory did.
func TestServerGone(t *testing.T) {
	dir := t.TempDir()
	stop(t, start(t, dir, redisServer(t)))
	_, err := Start(t.Context(), config(dir, ""))
	wantCode(t, err, transfer.CodeInvalid)
	dir = t.TempDir()
	r := start(t, dir, "")
	write(t, dial(t, r.URL()), "a", "1")
	stop(t, r)
	r = start(t, dir, redisServer(t))
	t.Cleanup(func() { stop(t, r) })
	want(t, dial(t, r.URL()), "a", "1")
}
