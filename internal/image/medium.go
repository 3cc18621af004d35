package image

import (
	"bufio"
	"context"
	"errors"
	"hash"
	"io"

	"github.com/transferd/transferd/internal/transfer"
)

// medium is where the bytes of an image are stored: a file, a block device, what is behind a URL,
// standard input. It has no format: the same bytes may be a raw image or a compressed one.
type medium interface {
	transfer.Source         // of the bytes as they are stored; the size is -1 if it is not known
	transfer.ChangeDetector // nil of a medium that cannot tell
	// name names the medium in messages, without secrets.
	name() string
	labels() labels
	// head is the first n bytes, or all if there are fewer. It is called before random and stream.
	head(ctx context.Context, n int) ([]byte, error)
	// random is the medium as one that is read by offset; nil if it can only be read in order.
	random() transfer.RandomAccess
	// stream reads from the first byte on. The caller closes it. A medium that is read by offset
	// has as many streams as are asked for, others have one.
	stream(ctx context.Context) (*input, error)
}

// labels are statements about a medium's content that are not in its bytes; each is empty if there
// is none.
type labels struct {
	fileName string // its ending may name the format
	// contentType and contentEncoding are the headers of a server's response (RFC 9110, 8.3 and
	// 8.4).
	contentType, contentEncoding string
	// endsSilently says that a stream which was cut off looks like a complete one.
	endsSilently bool
}

// readSize is how much is read at once of a medium that is read in order.
const readSize = 128 << 10

// readFunc reads like io.Reader. Its errors are ones for users.
type readFunc func(ctx context.Context, p []byte) (int, error)

// input reads a medium in order. It is used by one goroutine at a time.
type input struct {
	*bufio.Reader
	source *boundReader
	close  func() error // nil: nothing to close
}

func newInput(read readFunc, closeFunc func() error) *input {
	source := &boundReader{read: read}
	return &input{Reader: bufio.NewReaderSize(source, readSize), source: source, close: closeFunc}
}

// during makes ctx the one under which the medium is read from now on.
func (in *input) during(ctx context.Context) { in.source.ctx = ctx }

// offset is how many bytes have been read of what the medium holds.
func (in *input) offset() int64 { return in.source.off - int64(in.Buffered()) }

// digest adds everything that is read from now on to h.
func (in *input) digest(h hash.Hash) {
	ahead, _ := in.Peek(in.Buffered()) // as many as there are
	h.Write(ahead)
	in.source.sum = h
}

// err is the first error of the medium other than io.EOF. A decoder above it may hide it behind one
// of its own.
func (in *input) err() error { return in.source.err }

// head returns the first n bytes, or all if there are fewer, and leaves them to be read.
func (in *input) head(ctx context.Context, n int) ([]byte, error) {
	in.during(ctx)
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

// boundReader is an io.Reader, which decoders ask for, on a readFunc.
type boundReader struct {
	read readFunc
	ctx  context.Context // of the call in progress
	err  error           // the first one but io.EOF, which stays
	off  int64           // bytes read
	sum  hash.Hash       // of what was read; nil: not asked for
}

func (r *boundReader) Read(p []byte) (int, error) {
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
