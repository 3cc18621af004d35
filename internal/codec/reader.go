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

// Reader decodes all members of a gzip stream, one after another (RFC 1952, 2.2). Reset comes
// before the first Read. One goroutine at a time uses it.
//
// The library has a mode for several members, but that reports the end of a stream within the name
// or comment of a later member's header as the regular end. An image in two members that is cut off
// there would lose its second half unnoticed.
type Reader struct {
	// Trailing is called with the bytes that follow a member and do not begin another one. Its
	// error ends the stream; io.EOF ends it regularly. It is set before Reset. If it is nil, such
	// bytes are gzip.ErrHeader.
	Trailing func(src *bufio.Reader) error

	member gzip.Reader
	in     *bufio.Reader
	own    *bufio.Reader // is in unless Reset was given a *bufio.Reader; it is reused
	err    error         // that ended the stream
}

// Reset starts another stream. If src is not a *bufio.Reader, the Reader may read from src beyond
// the end of the stream. A truncated header is io.ErrUnexpectedEOF; other errors are those of src
// and of the gzip library.
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
	r.err = r.nextMember()
	return r.err
}

// nextMember reads the header of the next member.
func (r *Reader) nextMember() error {
	err := r.member.Reset(r.in)
	r.member.Multistream(false)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// Read implements io.Reader. A truncated stream is io.ErrUnexpectedEOF.
func (r *Reader) Read(p []byte) (n int, err error) {
	for n == 0 && r.err == nil && len(p) > 0 {
		n, r.err = r.member.Read(p)
		if r.err != io.EOF { //nolint:errorlint // the library returns it bare
			continue
		}
		r.err = r.afterMember()
	}
	return n, r.err
}

// afterMember continues with the next member, the trailing bytes or the end of the stream.
func (r *Reader) afterMember() error {
	start, err := r.in.Peek(len(magic))
	switch {
	case len(start) == 0:
		return err
	case r.Trailing != nil && string(start) != magic[:len(start)]:
		return r.Trailing(r.in)
	}
	return r.nextMember()
}
