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

// Fence is a RoundTripper for the calls of one job to a pool of connections that write
// (Config.Writes). A request that changes something at the other end is sent only while the job's
// lease is proven: the proof is asked for when the call begins and right before each system call
// that sends a part of it, headers included. When it lapses the call fails with lease.ErrLapsed and
// its connection is reset. It is safe for concurrent use.
//
// It may be anywhere in the stack, for it is the connection that asks last, when all waiting is
// over.
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
	// Without a lease too: the connection may have that of an earlier request.
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { fence(info.Conn, l) }}
	return f.Next.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
}

// fence has a connection ask for the lease. A pool has one request at a time on each of its
// connections.
func fence(c net.Conn, l *lease.Lease) {
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	if w, ok := c.(*writingConn); ok {
		w.lease.Store(l)
	}
}

const (
	// fencedPiece is what is sent at the most after one proof, in bytes.
	fencedPiece = 64 << 10
	// unacknowledged is how long what was sent may stay without an acknowledgement, and what was
	// not sent wait for the other end to take it, before the kernel gives the connection up: also
	// while this process is stopped.
	unacknowledged = 10 * time.Second
	// unsent is how much the kernel takes from this process, in bytes, that it cannot send yet. It
	// is not SO_SNDBUF, which would also bound what is on its way, and so the speed of a link that
	// is long: docs/reliability.md has figures.
	unsent = 128 << 10
)

// writingConn is a connection over which a job changes something. When it is closed, by any caller,
// the kernel drops what is not sent and resets it: nothing follows a call that was cut, or a
// process that was killed. While the process is stopped, a guard does that.
type writingConn struct {
	*net.TCPConn
	raw   syscall.RawConn
	lease atomic.Pointer[lease.Lease] // of the request that is under way
}

var _ io.ReaderFrom = (*writingConn)(nil)

func newWritingConn(c *net.TCPConn, guard *lease.Guard) (*writingConn, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	_ = guard.Watch(raw) // one that has ended guards nothing, and that is said in its place
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

// write waits for nothing between the proof and the system call, in particular not for room in the
// kernel's buffer.
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

// send hands p to the kernel. If more follows, the kernel keeps what does not fill a segment for
// the next call: over loopback a segment is a few bytes shorter than a piece, and the few bytes
// would be a segment of their own.
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

// Close resets the connection, which a guard may have, too.
func (c *writingConn) Close() error {
	_ = c.raw.Control(func(fd uintptr) { _ = lease.Reset(int(fd)) }) // it may be over already
	return c.TCPConn.Close()
}

// ReadFrom implements io.ReaderFrom, as that of conn.
func (c *writingConn) ReadFrom(r io.Reader) (int64, error) { return Copy(c, r) }
