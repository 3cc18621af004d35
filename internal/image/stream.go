package image

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/transferd/transferd/internal/transfer"
)

// stream is an image that can only be read in order: a compressed one, or one on a medium that has
// no offsets.
type stream struct {
	medium  medium
	reading reading
	image   *contents
}

var (
	_ transfer.Stream         = (*stream)(nil)
	_ transfer.ChangeDetector = (*stream)(nil)
	_ transfer.Warner         = (*stream)(nil)
	_ transfer.StoredDigester = (*stream)(nil)
	_ transfer.Resembler      = (*stream)(nil)
	_ transfer.Unwatched      = (*stream)(nil)
)

// openStream reads an image from a medium, which belongs to the stream from then on if there is no
// error.
func openStream(ctx context.Context, m medium, r reading, opts Options) (*stream, error) {
	size := int64(-1)
	switch {
	case r.format.open != nil: // the image is stored as it is
		size = m.Size()
	case opts.Measure:
		var err error
		if size, err = measureImage(ctx, m, r, opts); err != nil {
			return nil, err
		}
	}
	image, err := decodeMedium(ctx, m, r, opts)
	if err != nil {
		return nil, err
	}
	image.size.Store(size)
	return &stream{medium: m, reading: r, image: image}, nil
}

// measureImage decodes the whole image to learn its size, and that it is sound.
func measureImage(ctx context.Context, m medium, r reading, opts Options) (int64, error) {
	opts.StoredDigest = false
	image, err := decodeMedium(ctx, m, r, opts)
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

// decodeMedium begins to decode a medium, and checks the format of the decoded content.
func decodeMedium(ctx context.Context, m medium, r reading, opts Options) (*contents, error) {
	in, err := m.stream(ctx)
	if err != nil {
		return nil, err
	}
	if opts.StoredDigest && r.format != &raw {
		in.digest(sha256.New())
	}
	image, err := decode(ctx, m.name(), in, r.format)
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	image.limit = opts.MaxSize
	said := m.labels()
	if said.endsSilently {
		image.least = opts.MinSize
	}
	if !r.asIs {
		image.check = func(s sample) error { return said.acceptInside("read "+m.name(), r.format, s) }
	}
	if err := image.begin(ctx); err != nil {
		return nil, errors.Join(err, image.Close())
	}
	return image, nil
}

// orChanged is err or, if the medium has changed, that error: a medium that is changed while it is
// read looks damaged.
func orChanged(ctx context.Context, m medium, err error) error {
	if transfer.CodeOf(err) != transfer.CodeInvalid {
		return err
	}
	if changed := m.Unchanged(ctx); changed != nil && !errors.Is(changed, transfer.ErrTouched) {
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

// Warnings reports what was ignored: a manifest of another image, and bytes after a compressed
// image.
func (s *stream) Warnings(m *transfer.Manifest) []string {
	notes := s.reading.warnings(s.medium.labels().fileName, m)
	if s.image.out.ignored != nil {
		notes = append(notes, s.image.out.ignored()...)
	}
	return notes
}

// StoredSHA256 is the SHA-256 of a compressed image as it is stored, in hexadecimal, once Next has
// returned io.EOF; empty before, and where it was not asked for.
func (s *stream) StoredSHA256() string { return s.image.storedSum }

// Resembles is that of the medium.
func (s *stream) Resembles(identity string) bool {
	r, ok := s.medium.(transfer.Resembler)
	return ok && r.Resembles(identity)
}

// Unseen is that of a file.
func (s *stream) Unseen() string {
	if f, ok := s.medium.(*File); ok {
		return f.Unseen()
	}
	return ""
}

// DropCache is that of a file.
func (s *stream) DropCache() error {
	if f, ok := s.medium.(*File); ok {
		return f.DropCache()
	}
	return nil
}

// Close closes the stream and its medium.
func (s *stream) Close() error { return errors.Join(s.image.Close(), s.medium.Close()) }

// contents is an image that is decoded from an input.
type contents struct {
	name  string // of the medium, for messages
	in    *input
	out   decoder
	bytes *bufio.Reader // of the image
	limit int64         // of the image, bytes; 0: none
	least int64         // of the image, bytes; 0: none
	size  atomic.Int64  // -1: not known yet
	taken int64

	check     func(sample) error // of the image's first and last bytes; nil: it may hold anything
	sample    sample             // of the bytes taken
	storedSum string             // of the input, when it has ended; empty: not asked for
}

// decode reads an image of format f from in, which belongs to the contents from then on if there is
// no error.
func decode(ctx context.Context, name string, in *input, f *format) (*contents, error) {
	c := &contents{name: name, in: in}
	c.size.Store(-1)
	in.during(ctx)
	var err error
	if c.out, err = f.decode(in); err != nil {
		return nil, c.cause(err)
	}
	c.bytes = bufio.NewReaderSize(c.out, sampleSize)
	return c, nil
}

// begin checks the first bytes, and leaves them to be read.
func (c *contents) begin(ctx context.Context) error {
	c.in.during(ctx)
	head, err := c.bytes.Peek(sampleSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return c.cause(err)
	}
	c.sample.head = bytes.Clone(head)
	return c.checked()
}

func (c *contents) checked() error {
	if c.check == nil {
		return nil
	}
	return c.check(c.sample)
}

// next is transfer.Stream's Next.
func (c *contents) next(ctx context.Context, p []byte) (n int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	c.in.during(ctx)
	n, err = fill(c.bytes, p)
	c.taken += int64(n)
	c.sample.tail = lastOf(c.sample.tail, p[:n])
	switch {
	case c.limit > 0 && c.taken > c.limit:
		return n, invalid("read "+c.name, "is it the right image? if so, allow for more",
			"the image is larger than %d bytes", c.limit)
	case errors.Is(err, io.EOF):
		return n, c.finish()
	case err != nil:
		return n, c.cause(err)
	}
	return n, nil
}

// lastOf is the last bytes, at most sampleSize, of tail and p after it. It may use tail's memory.
func lastOf(tail, p []byte) []byte {
	if len(p) >= sampleSize {
		return append(tail[:0], p[len(p)-sampleSize:]...)
	}
	tail = append(tail, p...)
	return append(tail[:0], tail[max(0, len(tail)-sampleSize):]...)
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

// finish makes the checks that need the whole image; it returns io.EOF if all of them pass.
func (c *contents) finish() error {
	if known := c.size.Swap(c.taken); known >= 0 && known != c.taken {
		return &transfer.Error{
			Op: "read " + c.name, Code: transfer.CodeSourceChanged, Hint: hintLeaveAlone,
			Offset: &c.taken, Err: fmt.Errorf("the image ended after %d bytes, not %d", c.taken, known),
		}
	}
	if c.taken < c.least {
		return &transfer.Error{
			Op: "read " + c.name, Code: transfer.CodeInvalid, Offset: &c.taken,
			Hint: "did the program that writes it fail? if the image is that short, give --allow-short: " +
				"the rest of the drive is zeros",
			Err: fmt.Errorf("it ended after %d bytes, before the --size of %d", c.taken, c.least),
		}
	}
	if err := c.checked(); err != nil {
		return err
	}
	return c.sumStored()
}

// sumStored reads what the decoder has left of the input, and takes its digest.
func (c *contents) sumStored() error {
	if c.in.source.sum == nil {
		return io.EOF
	}
	if _, err := io.Copy(io.Discard, c.in.Reader); err != nil {
		return c.cause(err)
	}
	c.storedSum = hex.EncodeToString(c.in.source.sum.Sum(nil))
	return io.EOF
}

// cause makes an error of the medium, or of the decoder, one for users.
func (c *contents) cause(err error) error {
	off := c.taken
	var known *transfer.Error
	switch {
	case c.in.err() != nil:
		return c.in.err()
	case errors.As(err, &known):
		return &transfer.Error{Op: "unpack " + c.name, Code: known.Code, Hint: known.Hint, Offset: &off, Err: known.Err}
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		err = errors.New("it ends in the middle: the file is truncated")
	}
	return &transfer.Error{
		Op: "unpack " + c.name, Code: transfer.CodeInvalid, Offset: &off, Err: err,
		Hint: "the compressed file is damaged: fetch or make it again; if it is none, give --format raw",
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
