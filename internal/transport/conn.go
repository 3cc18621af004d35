package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/transferd/transferd/internal/lease"
)

// pieceSize is what bodies are sent and taken in, in bytes: small enough to stay in a core's
// second-level cache between two steps.
const pieceSize = 128 << 10

var pieces = sync.Pool{New: func() any { return new([pieceSize]byte) }}

// Copy copies r to w until r ends, in pieces of at most 128 KiB from a pool. It returns the number
// of bytes that w took, and the first error of either but io.EOF. A copy through a RoundTripper's
// bodies needs no buffer of its own then.
func Copy(w io.Writer, r io.Reader) (int64, error) {
	piece := pieces.Get().(*[pieceSize]byte)
	defer pieces.Put(piece)
	// WriterTo and ReaderFrom are hidden, for they would not use the piece.
	return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, piece[:])
}

// conn sends the bodies of requests in larger pieces than net/http does, which makes 32 KiB of
// buffer for each body and a system call for each 32 KiB: an upload on loopback takes a tenth less
// processor time by it. TLS has its own pieces.
type conn struct{ net.Conn }

var _ io.ReaderFrom = conn{}

// ReadFrom implements io.ReaderFrom, by which net/http sends a body.
func (c conn) ReadFrom(r io.Reader) (int64, error) { return Copy(c.Conn, r) }

// dialer connects to addresses.
type dialer struct {
	writes bool         // the connections change something at the other end
	guard  *lease.Guard // watches those
}

// dial is http.Transport's DialContext. TCP repeats its SYN after 1, 3 and 7 s; the repetition
// after 15 s is not waited for.
func (d dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	plain := net.Dialer{Timeout: connectTimeout, KeepAlive: 30 * time.Second}
	c, err := plain.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	t, ok := c.(*net.TCPConn)
	if !ok || !d.writes {
		return conn{c}, nil
	}
	w, err := newWritingConn(t, d.guard)
	if err != nil {
		return nil, errors.Join(&net.OpError{Op: "dial", Net: network, Addr: c.RemoteAddr(), Err: err}, c.Close())
	}
	return w, nil
}
