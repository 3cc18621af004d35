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
	"path"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/transferd/transferd/internal/transfer"
)

// stream is an image that can only be read in order: a compressed one, or one on a medium without
// offsets.
type stream struct {
	medium  medium
	reading reading
	image   *contents
}

var (
	_ transfer.Stream         = (*stream)(nil)
	_ transfer.ChangeDetector = (*stream)(nil)
	_ transfer.Warner         = (*stream)(nil)
	_ transfer.Described      = (*stream)(nil)
	_ transfer.StoredDigester = (*stream)(nil)
	_ transfer.Resembler      = (*stream)(nil)
	_ transfer.Unwatched      = (*stream)(nil)
)

// openInOrder opens an image that is packed, or on a medium that can only be read in order. A
// virtual disk, which is read by offset, is unpacked to a spool first. Without an error, the source
// owns the medium.
func openInOrder(ctx context.Context, m medium, r reading, opts Options) (transfer.Source, error) {
	image, err := decodeMedium(ctx, m, r, opts)
	if err != nil {
		return nil, err
	}
	size, spooled := image.knownSize(m, r), image.needsOffsets(m)
	if !spooled && (opts.Measure && r.format != &raw || image.out.member != nil) {
		if size, spooled, err = measureImage(ctx, m, r, opts); err != nil {
			return nil, errors.Join(err, image.Close())
		}
	}
	if spooled {
		src, err := openSpooled(ctx, m, r, image, opts)
		return src, errors.Join(err, image.Close())
	}
	image.size.Store(size)
	return &stream{medium: m, reading: r, image: image}, nil
}

// knownSize is the size of the unpacked bytes; -1: it is unknown.
func (c *contents) knownSize(m medium, r reading) int64 {
	switch {
	case c.out.member != nil:
		return c.out.member.size
	case r.format.decode == nil, r.format == &raw:
		return m.Size()
	}
	return -1
}

// needsOffsets reports whether an image cannot be read as a stream: a virtual disk, and what is in
// an archive on a medium that is read once, because the rest of the archive is only known behind it.
func (c *contents) needsOffsets(m medium) bool {
	_, again := m.(*File)
	return c.inside.disk != nil || c.out.member != nil && !again || c.accept != nil && c.mayHaveFooter(m)
}

// mayHaveFooter reports whether the name is that of an image that may be a virtual disk by its last
// bytes, which a stream has too late.
func (c *contents) mayHaveFooter(m medium) bool {
	name := strings.ToLower(m.metadata().fileName)
	if c.out.member != nil {
		name = strings.ToLower(c.out.member.name)
	} else if ending := path.Ext(name); slices.Contains(c.outer.endings, ending) {
		name = strings.TrimSuffix(name, ending)
	}
	return path.Ext(name) == ".vhd"
}

// measureImage decodes the whole image, to learn its size and to find damage. byOffset says that
// its last bytes are those of a virtual disk.
func measureImage(ctx context.Context, m medium, r reading, opts Options) (size int64, byOffset bool, err error) {
	opts.StoredDigest = false
	image, err := decodeMedium(ctx, m, r, opts)
	if err != nil {
		return 0, false, err
	}
	defer image.Close()
	size, err = image.measure(ctx)
	switch {
	case err != nil:
		return 0, false, orChanged(ctx, m, err)
	case size == 0:
		return 0, false, errEmpty("open " + m.name())
	}
	return size, image.inside.disk != nil, nil
}

// decodeMedium starts to decode a medium, and checks the format of the decoded content.
func decodeMedium(ctx context.Context, m medium, r reading, opts Options) (*contents, error) {
	in, err := m.stream(ctx)
	if err != nil {
		return nil, err
	}
	if opts.StoredDigest && r.format != &raw {
		in.hashInto(sha256.New())
	}
	packing := r.format
	if packing.decode == nil {
		packing = &raw // a virtual disk
	}
	image, err := decode(ctx, m.name(), in, packing)
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	image.maxSize = opts.MaxSize
	meta := m.metadata()
	if meta.endsSilently {
		image.minSize = opts.MinSize
	}
	if !r.asIs {
		image.accept = func(s sample) (*format, error) { return meta.acceptPacked("read "+m.name(), image.outer, s) }
	}
	if err := image.begin(ctx); err != nil {
		return nil, errors.Join(err, image.Close())
	}
	return image, nil
}

// orChanged is err or, if the medium has changed, the error that says so: a medium that changes
// while it is read looks damaged.
func orChanged(ctx context.Context, m medium, err error) error {
	if transfer.CodeOf(err) != transfer.CodeInvalid {
		return err
	}
	if changed := m.Unchanged(ctx); changed != nil && !errors.Is(changed, transfer.ErrTouched) {
		return changed
	}
	return err
}

// Size is the image's length in bytes; -1 if it is unknown before the end.
func (s *stream) Size() int64 { return s.image.size.Load() }

// Identity is that of the medium.
func (s *stream) Identity() string { return s.medium.Identity() }

// Next reads the next bytes. If the stream cannot be decoded, the error is CodeInvalid with the
// offset in the image.
func (s *stream) Next(ctx context.Context, p []byte) (int, error) {
	n, err := s.image.next(ctx, p)
	if inside := s.image.inside; errors.Is(err, io.EOF) && inside.disk != nil {
		err = inside.refused("read "+s.medium.name(), s.image.outer)
	}
	return n, orChanged(ctx, s.medium, err)
}

// Unchanged returns CodeSourceChanged if the medium has changed since it was opened.
func (s *stream) Unchanged(ctx context.Context) error { return s.medium.Unchanged(ctx) }

// CheckImage compares the image with the file's manifest, if it has one.
func (s *stream) CheckImage(m *transfer.Manifest) error {
	return s.reading.checkImage(s.medium.name(), m)
}

// Warnings lists what was ignored: a manifest, and bytes after a compressed image.
func (s *stream) Warnings(m *transfer.Manifest) []string {
	return append(s.reading.warnings(s.medium.name(), m), s.image.ignored()...)
}

// StoredSHA256 is the SHA-256 of the stored form of a compressed image, in hexadecimal. It is empty
// before Next has returned io.EOF, and without Options.StoredDigest.
func (s *stream) StoredSHA256() string { return s.image.storedSum }

// Resembles is that of the medium.
func (s *stream) Resembles(identity string) bool {
	r, ok := s.medium.(transfer.Resembler)
	return ok && r.Resembles(identity)
}

// UndetectedChanges is that of a file.
func (s *stream) UndetectedChanges() string {
	if f, ok := s.medium.(*File); ok {
		return f.UndetectedChanges()
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
	name    string // of the medium, for messages
	in      *input
	out     decoder
	bytes   *bufio.Reader // of the image
	maxSize int64         // of the image, bytes; 0: none
	minSize int64         // of the image, bytes; 0: none
	size    atomic.Int64  // -1: unknown
	off     int64         // bytes of the image that next has returned

	outer  *format // that packs the image
	inside *format // of the image, by the bytes that were read
	// accept is the format of an image with these first and last bytes; nil: the bytes are the image.
	accept    func(sample) (*format, error)
	sample    sample // of the bytes returned
	storedSum string // of the input, at its end; empty: not requested
}

// decode reads an image of format f from in. Without an error, the contents own in.
func decode(ctx context.Context, name string, in *input, f *format) (*contents, error) {
	c := &contents{name: name, in: in, outer: f, inside: &raw}
	c.size.Store(-1)
	in.setContext(ctx)
	var err error
	if c.out, err = f.decode(in); err != nil {
		return nil, c.userError(err)
	}
	c.bytes = bufio.NewReaderSize(c.out, sampleSize)
	return c, nil
}

// begin checks the first bytes. next returns them again. If they are those of an archive in a
// compressed file, the image is what the archive holds.
func (c *contents) begin(ctx context.Context) error {
	c.in.setContext(ctx)
	err := c.peek()
	if err == nil && c.accept != nil && c.outer != &raw && !c.outer.archive && isTar(c.sample.head) {
		err = c.unpackArchive()
	}
	if err != nil {
		return err
	}
	return c.checkSample()
}

// peek reads the first bytes ahead.
func (c *contents) peek() error {
	if m := c.out.member; m != nil {
		c.outer = m.format()
	}
	head, err := c.bytes.Peek(sampleSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return c.userError(err)
	}
	c.sample.head = bytes.Clone(head)
	return nil
}

// unpackArchive makes the image in an archive the image.
func (c *contents) unpackArchive() error {
	a, err := decodeTarFrom(c.bytes)
	if err != nil {
		return c.userError(err)
	}
	c.out.Reader, c.out.member = a.Reader, a.member
	c.bytes = bufio.NewReaderSize(c.out, sampleSize)
	return c.peek()
}

// ignored are the warnings of the decoder.
func (c *contents) ignored() []string {
	if c.out.ignored == nil {
		return nil
	}
	return c.out.ignored()
}

func (c *contents) checkSample() (err error) {
	if c.accept != nil {
		c.inside, err = c.accept(c.sample)
	}
	return err
}

// next is transfer.Stream's Next.
func (c *contents) next(ctx context.Context, p []byte) (n int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	c.in.setContext(ctx)
	n, err = fill(c.bytes, p)
	c.off += int64(n)
	c.sample.tail = appendTail(c.sample.tail, p[:n])
	switch {
	case c.maxSize > 0 && c.off > c.maxSize:
		return n, invalid("read "+c.name, "is it the right image? if so, give a larger drive",
			"the image is larger than %d bytes", c.maxSize)
	case errors.Is(err, io.EOF):
		return n, c.finish()
	case err != nil:
		return n, c.userError(err)
	}
	return n, nil
}

// appendTail appends p to tail and returns the last sampleSize bytes. It may reuse tail's memory.
func appendTail(tail, p []byte) []byte {
	if len(p) >= sampleSize {
		return append(tail[:0], p[len(p)-sampleSize:]...)
	}
	tail = append(tail, p...)
	return append(tail[:0], tail[max(0, len(tail)-sampleSize):]...)
}

// fill reads until p is full or r fails. Unlike io.ReadFull it does not change r's errors, so the
// end of an image differs from that of a truncated stream.
func fill(r io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var k int
		k, err = r.Read(p[n:])
		n += k
	}
	return n, err
}

// finish makes the checks that need the whole image. It returns io.EOF if all of them pass.
func (c *contents) finish() error {
	if known := c.size.Swap(c.off); known >= 0 && known != c.off {
		return &transfer.Error{
			Op: "read " + c.name, Code: transfer.CodeSourceChanged, Hint: hintUnchanged,
			Offset: &c.off, Err: fmt.Errorf("the image ended after %s, not %d", transfer.Count(c.off, "byte"), known),
		}
	}
	if c.off < c.minSize {
		return &transfer.Error{
			Op: "read " + c.name, Code: transfer.CodeInvalid, Offset: &c.off,
			Hint: "did the program that writes it fail? if the image is that short, give --allow-short: " +
				"the rest of the drive is zeros",
			Err: fmt.Errorf("it ended after %s, before the --size of %d", transfer.Count(c.off, "byte"), c.minSize),
		}
	}
	if err := c.checkSample(); err != nil {
		return err
	}
	return c.sumStored()
}

// sumStored reads the rest of the input, and computes its digest.
func (c *contents) sumStored() error {
	if c.in.source.sum == nil {
		return io.EOF
	}
	if _, err := io.Copy(io.Discard, c.in.Reader); err != nil {
		return c.userError(err)
	}
	c.storedSum = hex.EncodeToString(c.in.source.sum.Sum(nil))
	return io.EOF
}

// userError turns an error of the medium, or of the decoder, into an error for users.
func (c *contents) userError(err error) error {
	off := c.off
	var known *transfer.Error
	switch {
	case c.in.err() != nil:
		return c.in.err()
	case errors.As(err, &known):
		return &transfer.Error{Op: "unpack " + c.name, Code: known.Code, Hint: known.Hint, Offset: &off, Err: known.Err}
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		err = errors.New("the stream is incomplete: the file is truncated")
	}
	return &transfer.Error{
		Op: "unpack " + c.name, Code: transfer.CodeInvalid, Offset: &off, Err: err,
		Hint: "the compressed file is damaged: fetch or make it again; if it is not compressed, give --format raw",
	}
}

// measure decodes everything, to learn the size.
func (c *contents) measure(ctx context.Context) (int64, error) {
	buf := make([]byte, 1<<20)
	for {
		_, err := c.next(ctx, buf)
		if errors.Is(err, io.EOF) {
			return c.off, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// Close frees the decoder and closes the input.
func (c *contents) Close() error {
	c.out.release()
	return c.in.Close()
}
