package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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
	"github.com/transferd/transferd/internal/transfertest"
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

// redisServer is the path of redis-server, which these tests need.
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

// processID is the process ID of the redis-server that rdb reaches.
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

// abandon leaves the redis-server and the folder as a killed process leaves them.
func (r *Redis) abandon(t *testing.T) {
	t.Helper()
	close(r.stop)
	r.watched()
	close(r.engine.(*child).stop)
	r.engine.(*child).supervised()
	if err := errors.Join(r.owner.Close(), r.lock.Unlock()); err != nil {
		t.Fatal(err)
	}
}

// TestAcknowledgedWritesSurviveAKill: a redis-server is killed together with its transferd during
// writes. The redis-server of the next transferd has all writes that were acknowledged.
func TestAcknowledgedWritesSurviveAKill(t *testing.T) {
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
	if err := transfertest.Receive(t, killed, "kill"); err != nil {
		t.Fatal(err)
	}
	second := start(t, dir, redisServer(t))
	t.Cleanup(func() { stop(t, second) })
	rdb = dial(t, second.URL())
	if n, err := rdb.Exists(t.Context(), acknowledged...).Result(); int(n) != len(acknowledged) || err != nil {
		t.Errorf("got %d of %d acknowledged keys (%v)", n, len(acknowledged), err)
	}
}

// TestNextStartAdoptsTheServer: the redis-server of a killed transferd keeps running, and the next
// transferd adopts it.
func TestNextStartAdoptsTheServer(t *testing.T) {
	dir := t.TempDir()
	first := start(t, dir, redisServer(t))
	rdb := dial(t, first.URL())
	write(t, rdb, "a", "1")
	pid := processID(t, rdb)
	_, err := Start(t.Context(), config(dir, redisServer(t)))
	wantCode(t, err, transfer.CodeInvalid)
	if want := fmt.Sprintf("(process %d)", os.Getpid()); !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q in it", err, want)
	}
	first.abandon(t)
	second := start(t, dir, redisServer(t))
	t.Cleanup(func() { stop(t, second) })
	url, err := Find(dir)
	if err != nil || url != second.URL() {
		t.Fatalf("got %q (%v), want %q", url, err, second.URL())
	}
	rdb = dial(t, url)
	want(t, rdb, "a", "1")
	if got := processID(t, rdb); got != pid {
		t.Errorf("got process %d, want %d", got, pid)
	}
}

// TestLongFolderHasAShortSocket: a Redis runs in a folder whose path is too long for a socket.
func TestLongFolderHasAShortSocket(t *testing.T) {
	dir := t.TempDir() + "/" + strings.Repeat("long", 30)
	for _, server := range []string{redisServer(t), ""} {
		if server == "" {
			dir += "2"
		}
		r := start(t, dir, server)
		write(t, dial(t, r.URL()), "a", "1")
		stop(t, r)
		if _, err := Find(dir); err == nil {
			t.Error("Find after Close: got no error")
		}
		r = start(t, dir, server)
		want(t, dial(t, r.URL()), "a", "1")
		stop(t, r)
	}
}

// TestFailedStartSaysWhy: the error of a failed start has a code or names the log, and the next
// start can succeed.
func TestFailedStartSaysWhy(t *testing.T) {
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
	_, err = Start(t.Context(), config(t.TempDir(), "/bin/true")) // ends at once
	if err == nil || !strings.Contains(err.Error(), "redis.log") {
		t.Errorf("a program that ends: got %v, want an error that names redis.log", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Start(ctx, config(t.TempDir(), redisServer(t))); err == nil {
		t.Error("with a canceled context: got no error")
	}
}

// TestEngineOfAFolderDoesNotChange: without redis-server, Start fails in a folder that redis-server
// has used. With redis-server, a folder with a journal still uses the journal.
func TestEngineOfAFolderDoesNotChange(t *testing.T) {
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
