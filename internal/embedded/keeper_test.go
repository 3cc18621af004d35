package embedded

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// ends connects to the redis-server at url. wait fails unless the redis-server closes the
// connection, and so has ended, within patience.
func ends(t *testing.T, url string) (wait func(patience time.Duration)) {
	t.Helper()
	conn, err := net.Dial("unix", strings.TrimPrefix(url, "unix://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return func(patience time.Duration) {
		t.Helper()
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 1)); err != io.EOF { //nolint:errorlint // net returns it bare
			t.Errorf("redis-server has not ended after %s: %v", patience, err)
		}
	}
}

// staysUp fails if the redis-server at url ends within the given time.
func staysUp(t *testing.T, url string, atLeast time.Duration) {
	t.Helper()
	conn, err := net.Dial("unix", strings.TrimPrefix(url, "unix://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(atLeast)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("redis-server ended within %s: %v", atLeast, err)
	}
}

// parent is the process that started another one.
func parent(t *testing.T, pid int) (ppid int) {
	t.Helper()
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')'):]))
	if ppid, err = strconv.Atoi(fields[2]); err != nil {
		t.Fatal(err)
	}
	return ppid
}

// TestAbandonedServerEndsAfterTheWait kills a transferd: its redis-server ends when no other
// transferd comes.
func TestAbandonedServerEndsAfterTheWait(t *testing.T) {
	cfg := config(t.TempDir(), redisServer(t))
	cfg.adoption = 2 * ownerCheck
	r, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	wait := ends(t, r.URL())
	write(t, dial(t, r.URL()), "a", "1")
	r.abandon(t)
	wait(30 * time.Second)
	next := start(t, cfg.Dir, cfg.Server)
	t.Cleanup(func() { stop(t, next) })
	want(t, dial(t, next.URL()), "a", "1")
}

// TestAdoptedServerStays takes a redis-server over: it runs for longer than the wait, which begins
// again when it is abandoned once more.
func TestAdoptedServerStays(t *testing.T) {
	cfg := config(t.TempDir(), redisServer(t))
	cfg.adoption = 3 * ownerCheck
	first, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	pid := processID(t, dial(t, first.URL()))
	first.abandon(t)
	second := start(t, cfg.Dir, cfg.Server)
	wait := ends(t, second.URL())
	staysUp(t, second.URL(), 2*cfg.adoption)
	if got := processID(t, dial(t, second.URL())); got != pid {
		t.Errorf("got process %d, want %d", got, pid)
	}
	second.abandon(t)
	wait(30 * time.Second)
}

// TestFolderRemovedEndsTheServer removes the folder: Failed is called, and redis-server ends, both
// when the Redis is closed and when its process is killed.
func TestFolderRemovedEndsTheServer(t *testing.T) {
	for _, closed := range []bool{true, false} {
		failed := make(chan error, 1)
		cfg := config(t.TempDir()+"/queue", redisServer(t))
		cfg.Failed = func(err error) { failed <- err }
		r, err := Start(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		wait := ends(t, r.URL())
		if err := os.RemoveAll(cfg.Dir); err != nil {
			t.Fatal(err)
		}
		if err := <-failed; !strings.Contains(err.Error(), "removed") {
			t.Errorf("Failed got %v", err)
		}
		if closed {
			stop(t, r)
		} else {
			r.abandon(t)
		}
		wait(30 * time.Second)
	}
}

// TestFolderRemovedFailsMemory removes the folder of a server in this process: Failed is called.
func TestFolderRemovedFailsMemory(t *testing.T) {
	failed := make(chan error, 1)
	cfg := config(t.TempDir()+"/queue", "")
	cfg.Failed = func(err error) { failed <- err }
	r, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, r)
	if err := os.RemoveAll(cfg.Dir); err != nil {
		t.Fatal(err)
	}
	wantCode(t, <-failed, transfer.CodeFailed)
}

// TestKillEndsTheServer kills a Redis as a process does that is about to exit.
func TestKillEndsTheServer(t *testing.T) {
	r := start(t, t.TempDir(), redisServer(t))
	wait := ends(t, r.URL())
	r.Kill()
	wait(30 * time.Second)
	stop(t, r)
}

// TestKilledKeeperIsStartedAgain kills a keeper: its redis-server ends with it, and both are
// started again.
func TestKilledKeeperIsStartedAgain(t *testing.T) {
	r := start(t, t.TempDir(), redisServer(t))
	t.Cleanup(func() { stop(t, r) })
	rdb := dial(t, r.URL())
	write(t, rdb, "a", "1")
	pid := processID(t, rdb)
	keeper := parent(t, pid)
	name, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(keeper), "comm"))
	if string(name) != keeperName+"\n" || err != nil {
		t.Fatalf("the parent of redis-server is %q, %v", name, err)
	}
	wait := ends(t, r.URL())
	if err := syscall.Kill(keeper, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	wait(30 * time.Second)
	socket := strings.TrimPrefix(r.URL(), "unix://")
	if err := await(t.Context(), socket, nil, func() bool { return false }); err != nil {
		t.Fatal(err)
	}
	rdb = dial(t, r.URL())
	want(t, rdb, "a", "1")
	if got := processID(t, rdb); got == pid {
		t.Errorf("process %d is still there", got)
	}
}
