package image

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/transferd/transferd/internal/transfer"
)

const (
	// readSize is how much of a stream's input is read at once.
	readSize = 128 << 10
	// unpackSize is how much of an image is unpacked at once where only its size or its digests are wanted.
	unpackSize = 1 << 20
)

// stream is an image that can only be taken in order.
type stream struct {
	name     string // for messages, without secrets
	file     string // the file's name, if it has one
	identity string
	limit    int64        // of the image, bytes; 0: none
	close    func() error // closes what the stream owns; may be nil

	in    *input
	out   decoder      // what the image holds
	size  atomic.Int64 // -1: not known yet
	taken int64
}

var _ transfer.Stream = (*stream)(nil)

// start makes s a stream of what r yields, unpacked. The errors of r are passed on as they are, so r makes them ones for
// users. size is how many bytes r yields, or -1.
func (s *stream) start(ctx context.Context, r io.Reader, size int64) error {
	s.in = &input{r: r, ctx: ctx}
	buffered := bufio.NewReaderSize(s.in, readSize)
	head, err := buffered.Peek(sniffSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return s.cause(err)
	}
	f, err := formatOf("open "+s.name, s.file, head)
	if err != nil {
		return err
	}
	if f.id != transfer.FormatRaw {
		size = -1
	}
	s.size.Store(size)
	return s.unpack(f, buffered)
}

// sniff is the format of an image that jobs can write.
func sniff(op, name string, head []byte) (transfer.Format, error) {
	f, err := formatOf(op, name, head)
	if err != nil {
		return "", err
	}
	return f.id, nil
}

func (s *stream) unpack(f *format, r *bufio.Reader) (err error) {
	if s.out, err = f.decode(r); err != nil {
		return s.cause(err)
	}
	return nil
}

// input passes reads on for as long as the context of the current call lasts, and keeps the first error, which a decoder
// above it may hide behind one of its own.
type input struct {
	r   io.Reader
	ctx context.Context // of the call in progress
	err error
}

func (in *input) Read(p []byte) (int, error) {
	if in.err == nil {
		in.err = in.ctx.Err()
	}
	if in.err != nil {
		return 0, in.err
	}
	n, err := in.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		in.err = err
	}
	return n, err
}

// Size is the image's length in bytes; -1 for one that says it only at its end, and has not ended.
func (s *stream) Size() int64 { return s.size.Load() }

// Identity is that of the file behind the stream; empty for a standard stream.
func (s *stream) Identity() string { return s.identity }

// Next hands out what follows. A stream that does not unpack is CodeInvalid, with the offset in the image.
func (s *stream) Next(ctx context.Context, p []byte) (n int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	s.in.ctx = ctx
	n, err = fill(s.out, p)
	s.taken += int64(n)
	switch {
	case s.limit > 0 && s.taken > s.limit:
		return n, invalid("read "+s.name, "is it the right image? if so, allow for more", "the image is larger than %d bytes", s.limit)
	case errors.Is(err, io.EOF):
		return n, s.finish()
	case err != nil:
		return n, s.cause(err)
	}
	return n, nil
}

// fill reads until p is full or r fails. Unlike io.ReadFull it leaves r's errors as they are, so that the end of an image
// and that of a torn stream stay apart.
func fill(r io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var k int
		k, err = r.Read(p[n:])
		n += k
	}
	return n, err
}

func (s *stream) finish() error {
	if known := s.size.Swap(s.taken); known >= 0 && known != s.taken {
		return &transfer.Error{
			Op: "read " + s.name, Code: transfer.CodeSourceChanged, Hint: "leave the image alone while it is read, and start a new job",
			Offset: &s.taken, Err: fmt.Errorf("the image ended after %d bytes, not %d", s.taken, known),
		}
	}
	return io.EOF
}

// cause makes an error of what lies beneath, or of the unpacking, one for users.
func (s *stream) cause(err error) error {
	off := s.taken
	switch {
	case s.in.err != nil:
		return s.in.err
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		err = errors.New("it ends in the middle: the file is truncated")
	}
	return &transfer.Error{
		Op: "unpack " + s.name, Code: transfer.CodeInvalid, Hint: "the compressed file is damaged: fetch or make it again",
		Offset: &off, Err: err,
	}
}

// measure unpacks everything to learn the size.
func (s *stream) measure(ctx context.Context) (int64, error) {
	buf := make([]byte, unpackSize)
	for {
		_, err := s.Next(ctx, buf)
		if errors.Is(err, io.EOF) {
			return s.taken, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// Close releases the stream and closes what it owns.
func (s *stream) Close() error {
	s.out.release()
	if s.close == nil {
		return nil
	}
	return s.close()
}

// fileStream is a compressed file.
type fileStream struct {
	*stream
	file *File
}

var (
	_ transfer.Stream         = (*fileStream)(nil)
	_ transfer.ChangeDetector = (*fileStream)(nil)
)

// openPacked makes a stream of a compressed file, which it owns from then on. With measured it unpacks the file once to
// learn the image's size and that it is sound.
func openPacked(ctx context.Context, f *File, measured bool, limit int64) (*fileStream, error) {
	size := int64(-1)
	if measured {
		first, err := packedStream(ctx, f, limit)
		if err != nil {
			return nil, err
		}
		size, err = first.measure(ctx)
		first.out.release()
		if err != nil {
			return nil, first.blame(ctx, err)
		}
		if size == 0 {
			return nil, errEmpty("open " + f.path)
		}
	}
	s, err := packedStream(ctx, f, limit)
	if err != nil {
		return nil, err
	}
	s.size.Store(size)
	s.close = f.Close
	return s, nil
}

func packedStream(ctx context.Context, f *File, limit int64) (*fileStream, error) {
	r := &fileReader{File: f}
	s := &stream{name: f.path, file: f.path, identity: f.identity, limit: limit}
	if err := s.start(ctx, r, -1); err != nil {
		return nil, err
	}
	return &fileStream{stream: s, file: f}, nil
}

// Next is stream.Next; a file that was changed under our hands looks damaged, and is told apart here.
func (s *fileStream) Next(ctx context.Context, p []byte) (int, error) {
	n, err := s.stream.Next(ctx, p)
	return n, s.blame(ctx, err)
}

func (s *fileStream) blame(ctx context.Context, err error) error {
	if transfer.CodeOf(err) != transfer.CodeInvalid {
		return err
	}
	if changed := s.Unchanged(ctx); changed != nil {
		return changed
	}
	return err
}

// Unchanged returns CodeSourceChanged if the file, or what its path leads to, is not what was opened.
func (s *fileStream) Unchanged(ctx context.Context) error { return s.file.Unchanged(ctx) }

// fileReader reads a file in order, independently of its offset.
type fileReader struct {
	*File
	off int64
}

func (r *fileReader) Read(p []byte) (int, error) {
	n, err := r.f.ReadAt(p, r.off)
	r.off += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		return n, fileError("read "+r.path, err)
	}
	return n, err
}
