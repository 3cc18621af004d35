package image

import (
	"bufio"
	"context"
	"errors"
	"hash"
	"io"

	"github.com/transferd/transferd/internal/transfer"
)

// medium stores the bytes of an image: a file, a block device, the resource behind a URL, or
// standard input. It has no format: the same bytes may be a raw image or a compressed one.
type medium interface {
	transfer.Source         // of the stored bytes; the size is -1 if it is unknown
	transfer.ChangeDetector // nil if the medium cannot detect changes
	// name names the medium in messages, without secrets.
	name() string
	metadata() metadata
	// head is the first n bytes, or all if there are fewer. It is called before random and stream.
	head(ctx context.Context, n int) ([]byte, error)
	// random is the medium for reads by offset; nil if it can only be read in order.
	random() transfer.RandomAccess
	// stream reads from the first byte on. The caller closes it. It may be called several times if
	// random is not nil, and once otherwise.
	stream(ctx context.Context) (*input, error)
}

// metadata describes a medium's content but is not part of it. A field is empty if it is unknown.
type metadata struct {
	fileName string // its ending may name the format
	// contentType and contentEncoding are the headers of a server's response (RFC 9110, 8.3 and
	// 8.4).
	contentType, contentEncoding string
	// endsSilently says that a truncated stream cannot be told from a complete one.
	endsSilently bool
}

// readSize is the size of one read from a medium that is read in order, in bytes.
const readSize = 128 << 10

// readFunc reads like io.Reader. Its errors are for users.
type readFunc func(ctx context.Context, p []byte) (int, error)

// input reads a medium in order. Only one goroutine at a time may use it.
type input struct {
	*bufio.Reader
	source *contextReader
	close  func() error // nil: nothing to close
}

func newInput(read readFunc, closeFunc func() error) *input {
	source := &contextReader{read: read}
	return &input{Reader: bufio.NewReaderSize(source, readSize), source: source, close: closeFunc}
}

// setContext sets the context of all reads from now on.
func (in *input) setContext(ctx context.Context) { in.source.ctx = ctx }

// offset is the number of bytes that have been read from the medium.
func (in *input) offset() int64 { return in.source.off - int64(in.Buffered()) }

// hashInto adds everything that is read from now on to h.
func (in *input) hashInto(h hash.Hash) {
	ahead, _ := in.Peek(in.Buffered()) // no error: the bytes are in the buffer
	h.Write(ahead)
	in.source.sum = h
}

// err is the first error of the medium other than io.EOF. A decoder may replace it with an error of
// its own.
func (in *input) err() error { return in.source.err }

// head returns the first n bytes, or all if there are fewer. Later reads return them again.
func (in *input) head(ctx context.Context, n int) ([]byte, error) {
	in.setContext(ctx)
	head, err := in.Peek(n)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return head, err
}

func (in *input) Close() error {
	if in.close == nil {
		return nil
	}
	return in.close()
}

// contextReader makes an io.Reader for decoders from a readFunc.
type contextReader struct {
	read readFunc
	ctx  context.Context // of the current call
	err  error           // the first error but io.EOF; each later Read returns it
	off  int64           // bytes read
	sum  hash.Hash       // of the bytes read; nil: not requested
}

func (r *contextReader) Read(p []byte) (int, error) {
	if r.err == nil {
		r.err = r.ctx.Err()
	}
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.read(r.ctx, p)
	r.off += int64(n)
	if r.sum != nil {
		r.sum.Write(p[:n])
	}
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}
