package transport

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/lease"
	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/transfertest"
)

func newFence(t *testing.T, l *lease.Lease) *Fence {
	t.Helper()
	pool, err := New(Config{Writes: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.CloseIdleConnections)
	return &Fence{Next: pool, Lease: l}
}

func newPost(t *testing.T, url string, body io.Reader, size int64) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = size
	return req
}

// TestLapsedProofEndsTheBody: when the proof lapses in the middle of a body, no further piece is
// sent. The connection is reset, so the kernel does not send its buffer either.
func TestLapsedProofEndsTheBody(t *testing.T) {
	for name, serve := range map[string]func(http.Handler) *httptest.Server{
		"plain": httptest.NewServer, "TLS": httptest.NewTLSServer,
	} {
		t.Run(name, func(t *testing.T) {
			l, advance := transfertest.Lease()
			const before, size = 256 << 10, 4 << 20
			body, feed := io.Pipe()
			received, ended := make(chan int64, 1), make(chan error, 1)
			server := serve(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				n, _ := io.CopyN(io.Discard, r.Body, before)
				received <- n
				n, err := io.Copy(io.Discard, r.Body)
				received <- n
				ended <- err
			}))
			defer server.Close()
			f := newFence(t, l)
			f.Next.(*Pool).current().TLSClientConfig = server.Client().Transport.(*http.Transport).TLSClientConfig
			go func() {
				_, _ = feed.Write(make([]byte, before))
				<-received // all of it
				advance(10 * time.Second)
				_, _ = feed.Write(make([]byte, size-before))
				_ = feed.Close()
			}()
			resp, err := f.RoundTrip(newPost(t, server.URL, body, size))
			if err == nil {
				resp.Body.Close()
			}
			_ = body.Close()
			if !errors.Is(err, lease.ErrLapsed) {
				t.Errorf("the call: got %v, want %v", err, lease.ErrLapsed)
			}
			if n := transfertest.Receive(t, received, "count of bytes"); n > 0 {
				t.Errorf("the server received %d bytes after the proof had lapsed, want none", n)
			}
			if err := transfertest.Receive(t, ended, "end of the body"); err == nil {
				t.Error("the server received a complete body, want a reset")
			}
		})
	}
}

// TestConnectionHasTheLeaseOfItsCall: reads need no proof. A connection on which the proof of one
// job has lapsed serves the calls of another.
func TestConnectionHasTheLeaseOfItsCall(t *testing.T) {
	l, advance := transfertest.Lease()
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	defer server.Close()
	f := newFence(t, l)
	call := func(f *Fence, method string) error {
		req := newPost(t, server.URL, bytes.NewReader([]byte("x")), 1)
		if req.Method = method; method == http.MethodGet {
			req.Body, req.ContentLength = nil, 0
		}
		resp, err := f.RoundTrip(req)
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			err = resp.Body.Close()
		}
		return err
	}
	if err := call(f, http.MethodPost); err != nil {
		t.Fatal(err)
	}
	advance(10 * time.Second)
	if err := call(f, http.MethodPost); !errors.Is(err, lease.ErrLapsed) {
		t.Errorf("a write without a proof: got %v, want %v", err, lease.ErrLapsed)
	}
	if err := call(f, http.MethodGet); err != nil {
		t.Errorf("a read without a proof: got %v, want success", err)
	}
	if err := call(&Fence{Next: f.Next}, http.MethodPost); err != nil {
		t.Errorf("a write of another job: got %v, want success", err)
	}
}

// TestPanicOfTheProofFailsTheCall: net/http sends a request in a goroutine of its own. A panic
// there is an error of the call.
func TestPanicOfTheProofFailsTheCall(t *testing.T) {
	var readings atomic.Int64 // of the clock
	l := lease.New(func() time.Duration {
		if readings.Add(1) > 2 { // one for the renewal, one when the call begins
			panic("a mistake")
		}
		return 0
	}, time.Minute)
	l.Renewed(0)
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	resp, err := newFence(t, l).RoundTrip(newPost(t, server.URL, bytes.NewReader([]byte("x")), 1))
	if err == nil {
		_ = resp.Body.Close()
	}
	if panics.Of(err) == nil {
		t.Errorf("got %v after %d readings of the clock, want a panic", err, readings.Load())
	}
}

// TestCutConnectionIsReset: Close of a connection whose other end receives nothing, as at kill -9,
// drops what is in the kernel's buffer.
func TestCutConnectionIsReset(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	c, err := dialer{writes: true}.dial(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	if err := c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	sent, err := c.Write(make([]byte, 64<<20))
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("64 MiB to an end that receives nothing: got %d bytes sent, %v; want a timeout", sent, err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	received, err := io.Copy(io.Discard, far)
	if !errors.Is(err, syscall.ECONNRESET) || received > int64(sent) {
		t.Errorf("the other end got %d of %d bytes and %v, want a reset", received, sent, err)
	}
}

// TestUnacknowledgedBytesAreBounded reads the socket options that bound how long sent bytes may
// still arrive.
func TestUnacknowledgedBytesAreBounded(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	c, err := dialer{writes: true}.dial(t.Context(), "tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw := c.(*writingConn).raw
	err = raw.Control(func(fd uintptr) {
		timeout, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
		if err != nil || timeout <= 0 || timeout > 10_000 {
			t.Errorf("TCP_USER_TIMEOUT: got %d ms, %v; want 1 to 10,000", timeout, err)
		}
		low, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT)
		if err != nil || low != unsent {
			t.Errorf("TCP_NOTSENT_LOWAT: got %d, %v; want %d", low, err, unsent)
		}
	})
	if err != nil {
		t.Error(err)
	}
}
