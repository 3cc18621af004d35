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

const guardPatience = 500 * time.Millisecond

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
		t.Fatalf("the connection ended within %s: %v", atLeast, err)
	}
	if err := c.SetReadDeadline(time.Time{}); err != nil {
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

// exchange fails unless a byte goes each way.
func exchange(t *testing.T, near, far net.Conn) {
	t.Helper()
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		_, err := way[0].Write([]byte{1})
		if _, readErr := way[1].Read(make([]byte, 1)); err != nil || readErr != nil {
			t.Fatal(err, readErr)
		}
	}
}

// TestGuardResetsConnectionsOfASilentProcess stops the heartbeats, as SIGSTOP does, when all bytes
// sent before have been read: the other end sees a reset. Then the process continues with another
// connection, which stays open.
func TestGuardResetsConnectionsOfASilentProcess(t *testing.T) {
	g := startGuard(t)
	near, far := guarded(t, g)
	exchange(t, near, far)
	close(g.over)
	g.wait()
	if _, err := far.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the other end got %v, want a reset", err)
	}
	if _, err := near.Write([]byte{1}); err == nil {
		t.Error("the process still writes")
	}
	g.over = make(chan struct{})
	g.wait = panics.Go(func() { g.beat(guardPatience / beatsPerPatience) }, func(err error) { t.Error(err) })
	near, far = guarded(t, g)
	staysOpen(t, far, 2*guardPatience)
	exchange(t, near, far)
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if _, err := far.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("when the guard ends the other end gets %v, want a reset", err)
	}
}

// TestResetEndsASharedConnection resets a connection that the guard shares.
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
