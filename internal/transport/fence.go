package transport

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/lease"
	"github.com/transferd/transferd/internal/panics"
)

// Fence is a RoundTripper for the calls of one job over a pool of connections that write
// (Config.Writes). It sends a request that changes something only while the job's lease is proven.
// It checks the proof when the call begins, and directly before each system call that sends a part
// of the request, headers included. When the proof lapses, the call fails with lease.ErrLapsed and
// its connection is reset. Fence is safe for concurrent use.
//
// It may be anywhere in the stack: the connection makes the last check, after all waiting.
type Fence struct {
	Next  http.RoundTripper
	Lease *lease.Lease // nil: it always holds
}

var _ http.RoundTripper = (*Fence)(nil)

// RoundTrip implements http.RoundTripper.
func (f *Fence) RoundTrip(req *http.Request) (*http.Response, error) {
	l := f.Lease
	if req.Method == http.MethodGet || req.Method == http.MethodHead {
		l = nil
	}
	if err := l.Check(); err != nil {
		if req.Body != nil {
			_ = req.Body.Close() // as a RoundTripper must
		}
		return nil, err
	}
	// Also without a lease: the connection may still have that of an earlier request.
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { fence(info.Conn, l) }}
	return f.Next.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
}

// fence makes a connection check the lease. Each connection of a pool carries one request at a
// time.
func fence(c net.Conn, l *lease.Lease) {
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	if w, ok := c.(*writingConn); ok {
		w.lease.Store(l)
	}
}

const (
	// fencedPiece is how much is sent at most after one check of the proof, in bytes.
	fencedPiece = 64 << 10
	// unacknowledged is how long bytes may stay without an acknowledgement, or wait in the kernel
	// for the other end, before the kernel closes the connection. The kernel does so also while
	// this process is stopped.
	unacknowledged = 10 * time.Second
	// unsent is how many bytes the kernel accepts from this process before it can send them.
	// SO_SNDBUF would also bound the bytes in flight, and so the speed of a link with a long
	// round-trip time: docs/reliability.md has figures.
	unsent = 128 << 10
)

// writingConn is a connection over which a job changes something. When any caller closes it, the
// kernel drops unsent bytes and resets the connection. So nothing is sent after a call was cut or
// the process was killed. While the process is stopped, a guard resets the connection.
type writingConn struct {
	*net.TCPConn
	raw   syscall.RawConn
	lease atomic.Pointer[lease.Lease] // of the current request
}

var _ io.ReaderFrom = (*writingConn)(nil)

func newWritingConn(c *net.TCPConn, guard *lease.Guard) (*writingConn, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	_ = guard.Watch(raw) // it fails if the guard has ended, which its owner reports
	if err := c.SetLinger(0); err != nil {
		return nil, err
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		ms := int(unacknowledged / time.Millisecond)
		if set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, ms); set == nil {
			set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsent)
		}
	})
	if err == nil && set != nil {
		err = os.NewSyscallError("setsockopt", set)
	}
	return &writingConn{TCPConn: c, raw: raw}, err
}

// Write implements net.Conn. net/http calls it in a goroutine of its own, so a panic is an error of
// the call.
func (c *writingConn) Write(p []byte) (n int, err error) {
	err = panics.Catch(func() (err error) {
		n, err = c.write(p)
		return err
	})
	return n, err
}

// write does not wait between the check of the proof and the system call, in particular not for
// space in the kernel's buffer.
func (c *writingConn) write(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var k int
		rawErr := c.raw.Write(func(fd uintptr) bool {
			l, end := c.lease.Load(), len(p)
			if err = l.Check(); err != nil {
				return true
			}
			if l != nil {
				end = min(end, n+fencedPiece)
			}
			k, err = send(int(fd), p[n:end], end < len(p))
			return !errors.Is(err, unix.EAGAIN)
		})
		if rawErr != nil {
			return n, rawErr
		}
		n += max(0, k)
	}
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		err = &net.OpError{
			Op: "write", Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(),
			Err: os.NewSyscallError("write", errno),
		}
	}
	return n, err
}

// send passes p to the kernel. With more, the kernel keeps bytes that do not fill a segment for the
// next call. Over loopback a segment is a few bytes shorter than a piece, and without more these
// bytes would be a segment of their own.
func send(fd int, p []byte, more bool) (int, error) {
	flags := unix.MSG_NOSIGNAL
	if more {
		flags |= unix.MSG_MORE
	}
	for {
		n, err := unix.SendmsgN(fd, p, nil, nil, flags)
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// Close resets the connection, which a guard may have done already.
func (c *writingConn) Close() error {
	_ = c.raw.Control(func(fd uintptr) { _ = lease.Reset(int(fd)) }) // it may be closed already
	return c.TCPConn.Close()
}

// ReadFrom implements io.ReaderFrom, as that of conn.
func (c *writingConn) ReadFrom(r io.Reader) (int64, error) { return Copy(c, r) }
