package lease

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/transferd/transferd/internal/panics"
)

const (
	guardPatience = 500 * time.Millisecond
	readTimeout   = time.Minute // of each read of a test
)

// guarded makes a connection that a guard watches, and returns both of its ends.
func guarded(t *testing.T, g *Guard) (near *net.TCPConn, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = c.Close(), far.Close() })
	for _, end := range []net.Conn{c, far} {
		if err := end.SetDeadline(time.Now().Add(readTimeout)); err != nil {
			t.Fatal(err)
		}
	}
	near = c.(*net.TCPConn)
	raw, err := near.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Watch(raw); err != nil {
		t.Fatal(err)
	}
	return near, far
}

// staysOpen fails if a connection on which nothing is sent ends within the given time.
func staysOpen(t *testing.T, c net.Conn, atLeast time.Duration) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(atLeast)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %v within %s, want an open connection", err, atLeast)
	}
	if err := c.SetReadDeadline(time.Now().Add(readTimeout)); err != nil {
		t.Fatal(err)
	}
}

func startGuard(t *testing.T) *Guard {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), "LEASE_TEST_GUARD=1")
	g, err := StartGuard(child, guardPatience, nil)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// exchangeBytes fails unless a byte arrives in each direction.
func exchangeBytes(t *testing.T, near, far net.Conn) {
	t.Helper()
	for _, pair := range [][2]net.Conn{{near, far}, {far, near}} {
		_, err := pair[0].Write([]byte{1})
		if _, readErr := pair[1].Read(make([]byte, 1)); err != nil || readErr != nil {
			t.Fatalf("write: %v, read: %v; want no errors", err, readErr)
		}
	}
}

// TestGuardResetsConnectionsOfASilentProcess: the guard resets the connections when no heartbeats
// arrive, as after SIGSTOP. When the process continues, its next connection stays open.
func TestGuardResetsConnectionsOfASilentProcess(t *testing.T) {
	g := startGuard(t)
	near, far := guarded(t, g)
	exchangeBytes(t, near, far)
	close(g.over)
	g.wait()
	if _, err := far.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the other end got %v, want a reset", err)
	}
	if _, err := near.Write([]byte{1}); err == nil {
		t.Error("write after the reset: got no error")
	}
	g.over = make(chan struct{})
	g.wait = panics.Go(func() { g.sendHeartbeats(guardPatience / beatsPerPatience) }, func(err error) { t.Error(err) })
	near, far = guarded(t, g)
	staysOpen(t, far, 2*guardPatience)
	exchangeBytes(t, near, far)
	if err := g.Close(); err != nil {
		t.Errorf("Close: got %v, want no error", err)
	}
	if _, err := far.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("after the end of the guard, the other end got %v, want a reset", err)
	}
}

// TestResetEndsASharedConnection: Reset ends a connection that another process shares.
func TestResetEndsASharedConnection(t *testing.T) {
	g := startGuard(t)
	defer g.Close()
	near, far := guarded(t, g)
	raw, err := near.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { err = Reset(int(fd)) }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, far); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the other end got %v, want a reset", err)
	}
}
