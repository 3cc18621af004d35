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

// guarded is a connection that a guard watches, and its other end.
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

// TestGuardResetsConnectionsOfASilentProcess stops the signs of life, as SIGSTOP does, while what
// was sent before has all been taken: the other end finds the connection reset. Then the process
// goes on, with other connections.
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
	<-time.After(2 * guardPatience) // it stays for longer than the silence that ends it
	exchange(t, near, far)
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if _, err := far.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("when the guard ends the other end gets %v, want a reset", err)
	}
}

// TestResetEndsAConnectionThatOthersHaveToo, and drops what is not sent.
func TestResetEndsAConnectionThatOthersHaveToo(t *testing.T) {
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
