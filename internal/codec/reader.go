package codec

import (
	"bufio"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
)

// magic is the first two bytes of each member (RFC 1952, 2.3.1).
const magic = "\x1f\x8b"

// bufferSize is how much of the compressed stream is read at a time, bytes.
const bufferSize = 64 << 10

// Reader decodes a gzip stream, all of its members one after another (RFC 1952, 2.2). The zero value
// needs a Reset first. It is used by one goroutine at a time.
//
// The library finds the members by itself, but takes the end of a stream within the name or comment of
// a later member's header for the end of the whole: of an image in two members, cut off there, half
// would pass for all of it.
type Reader struct {
	// Rest is called with the bytes that follow a member and do not begin another one. Its error
	// ends the stream, io.EOF as a complete one. It is set before Reset; if it is nil, such bytes
	// are gzip.ErrHeader.
	Rest func(src *bufio.Reader) error

	member gzip.Reader
	in     *bufio.Reader
	own    *bufio.Reader // in, unless that was given
	err    error         // what ended the stream
}

// Reset starts with another stream. If src is no *bufio.Reader, it reads from src beyond the stream's
// end. A stream that breaks off in its header is io.ErrUnexpectedEOF, other errors are those of src and
// of compress/gzip.
func (r *Reader) Reset(src io.Reader) error {
	given, ok := src.(*bufio.Reader)
	switch {
	case ok:
		r.in = given
	case r.own == nil:
		r.own = bufio.NewReaderSize(src, bufferSize)
		r.in = r.own
	default:
		r.own.Reset(src)
		r.in = r.own
	}
	r.err = r.next()
	return r.err
}

// next starts with the next member.
func (r *Reader) next() error {
	err := r.member.Reset(r.in)
	r.member.Multistream(false)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// Read implements io.Reader. A stream that breaks off is io.ErrUnexpectedEOF.
func (r *Reader) Read(p []byte) (n int, err error) {
	for n == 0 && r.err == nil && len(p) > 0 {
		n, r.err = r.member.Read(p)
		if r.err != io.EOF { //nolint:errorlint // the library returns it bare
			continue
		}
		r.err = r.follow()
	}
	return n, r.err
}

// follow goes on after the end of a member.
func (r *Reader) follow() error {
	start, err := r.in.Peek(len(magic))
	switch {
	case len(start) == 0:
		return err
	case r.Rest != nil && string(start) != magic[:len(start)]:
		return r.Rest(r.in)
	}
	return r.next()
}
