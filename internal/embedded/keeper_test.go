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
	"github.com/transferd/transferd/internal/transfertest"
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
			t.Errorf("got %v, want the end of redis-server within %s", err, patience)
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
		t.Errorf("got %v within %s, want a redis-server that runs", err, atLeast)
	}
}

// parent returns the process that started another one.
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

// TestAbandonedServerEndsAfterTheWait: the redis-server of a killed transferd ends if no other
// transferd adopts it.
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

// TestAdoptedServerStays: an adopted redis-server runs for longer than the wait. The wait begins
// again when its next transferd is killed.
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

// TestFolderRemovedEndsTheServer: if the folder is removed, Failed is called, and redis-server
// ends, both when the Redis is closed and when its process is killed.
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
		if err := transfertest.Receive(t, failed, "call of Failed"); !strings.Contains(err.Error(), "removed") {
			t.Errorf("got %v, want an error that says that the folder was removed", err)
		}
		if closed {
			stop(t, r)
		} else {
			r.abandon(t)
		}
		wait(30 * time.Second)
	}
}

// TestFolderRemovedFailsMemory: if the folder of a server in this process is removed, Failed is
// called.
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
	wantCode(t, transfertest.Receive(t, failed, "call of Failed"), transfer.CodeFailed)
}

// TestKillEndsTheServer: Kill ends redis-server.
func TestKillEndsTheServer(t *testing.T) {
	r := start(t, t.TempDir(), redisServer(t))
	wait := ends(t, r.URL())
	r.Kill()
	wait(30 * time.Second)
	stop(t, r)
}

// TestKilledKeeperIsStartedAgain: the redis-server of a killed keeper ends with it, and both are
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
		t.Fatalf("got a redis-server whose parent is %q (%v), want %q", name, err, keeperName)
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
		t.Errorf("got process %d again, want another one", got)
	}
}
