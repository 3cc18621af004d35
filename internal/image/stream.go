package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/transferd/transferd/internal/transfer"
)

// stream is an image that can only be read in order: a compressed one, or one on a medium that has
// no offsets.
type stream struct {
	medium medium
	image  *contents
}

var (
	_ transfer.Stream         = (*stream)(nil)
	_ transfer.ChangeDetector = (*stream)(nil)
)

// openStream reads an image of format f from a medium, which belongs to the stream from then on if
// there is no error.
func openStream(ctx context.Context, m medium, f *format, opts Options) (*stream, error) {
	size := int64(-1)
	switch {
	case f.open != nil: // what is stored is the image
		size = m.Size()
	case opts.Measure:
		var err error
		if size, err = measureImage(ctx, m, f, opts.MaxSize); err != nil {
			return nil, err
		}
	}
	image, err := decodeMedium(ctx, m, f, opts.MaxSize)
	if err != nil {
		return nil, err
	}
	image.size.Store(size)
	return &stream{medium: m, image: image}, nil
}

// measureImage decodes the whole image to learn its size, and that it is sound.
func measureImage(ctx context.Context, m medium, f *format, limit int64) (int64, error) {
	image, err := decodeMedium(ctx, m, f, limit)
	if err != nil {
		return 0, err
	}
	defer image.Close()
	size, err := image.measure(ctx)
	switch {
	case err != nil:
		return 0, orChanged(ctx, m, err)
	case size == 0:
		return 0, errEmpty("open " + m.name())
	}
	return size, nil
}

func decodeMedium(ctx context.Context, m medium, f *format, limit int64) (*contents, error) {
	in, err := m.stream(ctx)
	if err != nil {
		return nil, err
	}
	image, err := decode(ctx, m.name(), in, f)
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	image.limit = limit
	return image, nil
}

// orChanged is err, or what explains it: a medium that is changed while it is read looks damaged.
func orChanged(ctx context.Context, m medium, err error) error {
	if transfer.CodeOf(err) != transfer.CodeInvalid {
		return err
	}
	if changed := m.Unchanged(ctx); changed != nil {
		return changed
	}
	return err
}

// Size is the image's length in bytes; -1 for one that says it only at its end, and has not ended.
func (s *stream) Size() int64 { return s.image.size.Load() }

// Identity is that of the medium.
func (s *stream) Identity() string { return s.medium.Identity() }

// Next reads what follows. A stream that cannot be decoded is CodeInvalid, with the offset in the
// image.
func (s *stream) Next(ctx context.Context, p []byte) (int, error) {
	n, err := s.image.next(ctx, p)
	return n, orChanged(ctx, s.medium, err)
}

// Unchanged returns CodeSourceChanged if the medium is known not to be what was opened.
func (s *stream) Unchanged(ctx context.Context) error { return s.medium.Unchanged(ctx) }

// Close closes the stream and its medium.
func (s *stream) Close() error { return errors.Join(s.image.Close(), s.medium.Close()) }

// contents is an image that is decoded from an input.
type contents struct {
	name  string // of the medium, for messages
	in    *input
	out   decoder
	limit int64        // of the image, bytes; 0: none
	size  atomic.Int64 // -1: not known yet
	taken int64
}

// decode reads an image of format f from in, which belongs to the contents from then on if there is
// no error.
func decode(ctx context.Context, name string, in *input, f *format) (*contents, error) {
	c := &contents{name: name, in: in}
	c.size.Store(-1)
	in.during(ctx)
	var err error
	if c.out, err = f.decode(in.Reader); err != nil {
		return nil, c.cause(err)
	}
	return c, nil
}

// next is transfer.Stream's Next.
func (c *contents) next(ctx context.Context, p []byte) (n int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	c.in.during(ctx)
	n, err = fill(c.out, p)
	c.taken += int64(n)
	switch {
	case c.limit > 0 && c.taken > c.limit:
		return n, invalid("read "+c.name, "is it the right image? if so, allow for more", "the image is larger than %d bytes", c.limit)
	case errors.Is(err, io.EOF):
		return n, c.finish()
	case err != nil:
		return n, c.cause(err)
	}
	return n, nil
}

// fill reads until p is full or r fails. Unlike io.ReadFull it leaves r's errors as they are, so
// that the end of an image and that of a torn stream stay apart.
func fill(r io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var k int
		k, err = r.Read(p[n:])
		n += k
	}
	return n, err
}

func (c *contents) finish() error {
	if known := c.size.Swap(c.taken); known >= 0 && known != c.taken {
		return &transfer.Error{
			Op: "read " + c.name, Code: transfer.CodeSourceChanged, Hint: "leave the image alone while it is read, and start a new job",
			Offset: &c.taken, Err: fmt.Errorf("the image ended after %d bytes, not %d", c.taken, known),
		}
	}
	return io.EOF
}

// cause makes an error of the medium, or of the decoder, one for users.
func (c *contents) cause(err error) error {
	off := c.taken
	switch {
	case c.in.err() != nil:
		return c.in.err()
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		err = errors.New("it ends in the middle: the file is truncated")
	}
	return &transfer.Error{
		Op: "unpack " + c.name, Code: transfer.CodeInvalid, Hint: "the compressed file is damaged: fetch or make it again",
		Offset: &off, Err: err,
	}
}

// measure decodes everything to learn the size.
func (c *contents) measure(ctx context.Context) (int64, error) {
	buf := make([]byte, 1<<20)
	for {
		_, err := c.next(ctx, buf)
		if errors.Is(err, io.EOF) {
			return c.taken, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// Close releases the decoder and closes the input.
func (c *contents) Close() error {
	c.out.release()
	return c.in.Close()
}
