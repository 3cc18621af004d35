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
)

// held is a lease, and what makes its clock pass.
func held() (l *lease.Lease, pass func(d time.Duration)) {
	var now atomic.Int64
	l = lease.New(func() time.Duration { return time.Duration(now.Load()) }, 15*time.Second)
	l.Renewed(0)
	return l, func(d time.Duration) { now.Add(int64(d)) }
}

func fenced(t *testing.T, l *lease.Lease) *Fence {
	t.Helper()
	pool, err := New(Config{Writes: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.CloseIdleConnections)
	return &Fence{Next: pool, Lease: l}
}

func posting(t *testing.T, url string, body io.Reader, size int64) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = size
	return req
}

// TestLapsedProofEndsTheBody lets the proof lapse in the middle of a body: not one piece more is
// sent, and the connection is reset, so that what the kernel holds back is not sent either.
func TestLapsedProofEndsTheBody(t *testing.T) {
	for name, serve := range map[string]func(http.Handler) *httptest.Server{
		"plain": httptest.NewServer, "TLS": httptest.NewTLSServer,
	} {
		t.Run(name, func(t *testing.T) {
			l, pass := held()
			const before, size = 256 << 10, 4 << 20
			body, feed := io.Pipe()
			came, ended := make(chan int64, 1), make(chan error, 1)
			server := serve(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				n, _ := io.CopyN(io.Discard, r.Body, before)
				came <- n
				n, err := io.Copy(io.Discard, r.Body)
				came <- n
				ended <- err
			}))
			defer server.Close()
			f := fenced(t, l)
			f.Next.(*Pool).current().TLSClientConfig = server.Client().Transport.(*http.Transport).TLSClientConfig
			go func() {
				_, _ = feed.Write(make([]byte, before))
				<-came // all of it has arrived
				pass(10 * time.Second)
				_, _ = feed.Write(make([]byte, size-before))
				_ = feed.Close()
			}()
			resp, err := f.RoundTrip(posting(t, server.URL, body, size))
			if err == nil {
				resp.Body.Close()
			}
			_ = body.Close()
			if !errors.Is(err, lease.ErrLapsed) {
				t.Errorf("the call ended with %v", err)
			}
			if n := <-came; n > 0 {
				t.Errorf("%d bytes came after the proof had lapsed", n)
			}
			if err := <-ended; err == nil {
				t.Error("the server took the body for whole")
			}
		})
	}
}

// TestConnectionHasTheLeaseOfItsCall: reads need no proof, nor do calls of another job on a
// connection that a lost one had.
func TestConnectionHasTheLeaseOfItsCall(t *testing.T) {
	l, pass := held()
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	defer server.Close()
	f := fenced(t, l)
	call := func(f *Fence, method string) error {
		req := posting(t, server.URL, bytes.NewReader([]byte("x")), 1)
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
	pass(10 * time.Second)
	if err := call(f, http.MethodPost); !errors.Is(err, lease.ErrLapsed) {
		t.Errorf("a write without a proof: %v", err)
	}
	if err := call(f, http.MethodGet); err != nil {
		t.Errorf("a read without a proof: %v", err)
	}
	if err := call(&Fence{Next: f.Next}, http.MethodPost); err != nil {
		t.Errorf("a write of another job: %v", err)
	}
}

// TestPanicOfTheProofFailsTheCall panics where net/http sends a request, in a goroutine of its own.
func TestPanicOfTheProofFailsTheCall(t *testing.T) {
	var asked atomic.Int64
	l := lease.New(func() time.Duration {
		if asked.Add(1) > 2 { // one for the renewal, one when the call begins
			panic("a mistake")
		}
		return 0
	}, time.Minute)
	l.Renewed(0)
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	resp, err := fenced(t, l).RoundTrip(posting(t, server.URL, bytes.NewReader([]byte("x")), 1))
	if err == nil {
		_ = resp.Body.Close()
	}
	if panics.Of(err) == nil {
		t.Errorf("got %v after %d questions for the time, want a panic", err, asked.Load())
	}
}

// TestCutConnectionIsReset closes a connection whose other end takes nothing, as kill -9 does: what
// is in the kernel's buffer is dropped.
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
		t.Fatalf("64 MiB to an end that takes nothing: %d bytes were sent, %v", sent, err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	came, err := io.Copy(io.Discard, far)
	if !errors.Is(err, syscall.ECONNRESET) || came > int64(sent) {
		t.Errorf("the other end got %d of %d bytes and %v, want a reset", came, sent, err)
	}
}

// TestUnacknowledgedBytesAreBounded reads the options back that bound how long what was sent may
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
			t.Errorf("TCP_USER_TIMEOUT is %d ms, %v", timeout, err)
		}
		low, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT)
		if err != nil || low != unsent {
			t.Errorf("TCP_NOTSENT_LOWAT is %d, %v", low, err)
		}
	})
	if err != nil {
		t.Error(err)
	}
}
