package image

import (
	"context"
	"errors"
	"os"

	"github.com/transferd/transferd/internal/fsx"
	"github.com/transferd/transferd/internal/lease"
	"github.com/transferd/transferd/internal/transfer"
)

// streamSink writes an image in order, compressed or not. It is not safe for concurrent use: a
// caller that writes in order waits for each chunk. The next attempt cannot use an incomplete
// target, so Close removes it.
type streamSink struct {
	dest      appendable
	format    *format
	enc       encoder
	next      int64 // offset of the next chunk
	published bool
	fromDisk  *fsx.System      // reads the stored file back from the disk; nil: from the page cache
	via       transfer.ReadVia // how it was read back; empty: not yet
}

var (
	_ transfer.Sink      = (*streamSink)(nil)
	_ transfer.Discarder = (*streamSink)(nil)
	_ transfer.Local     = (*streamSink)(nil)
)

func newStreamSink(p appendable, f *format) (*streamSink, error) {
	enc, err := f.encode(p)
	if err != nil {
		return nil, err
	}
	return &streamSink{dest: p, format: f, enc: enc}, nil
}

// Traits implements transfer.Sink.
func (s *streamSink) Traits() transfer.Traits {
	if s.dest.stored() == nil {
		return transfer.Traits{ReadBack: transfer.ReadBackNever}
	}
	return transfer.Traits{ReadBack: transfer.ReadBackInCommit}
}

// WriteChunk appends a chunk. An error may concern an earlier chunk.
func (s *streamSink) WriteChunk(ctx context.Context, c transfer.Chunk, p []byte) error {
	return s.append(ctx, c, len(p), func() error {
		_, err := s.enc.Write(p)
		return err
	})
}

// append appends a chunk of n bytes by write.
func (s *streamSink) append(ctx context.Context, c transfer.Chunk, n int, write func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.Off != s.next || c.Len != n {
		return invalid("write "+s.dest.name(), "",
			"chunk %d is at %d, and the next one must be at %d", c.Index, c.Off, s.next)
	}
	err := s.dest.writeUntil(ctx, write)
	if err != nil {
		return s.writeError(ctx, err)
	}
	s.next += int64(c.Len)
	return nil
}

func (s *streamSink) writeError(ctx context.Context, err error) error {
	var known *transfer.Error
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &known):
		return err
	}
	return fileErrorAt("write "+s.dest.name(), s.next, err)
}

// Commit completes the stream. If the destination can be read back, Commit reads and decodes it,
// and compares each chunk with the manifest. Only then it gives the target its name. A difference
// is CodeMismatch with its offset in the image.
func (s *streamSink) Commit(ctx context.Context, m *transfer.Manifest, owned func(context.Context) error) error {
	if err := s.dest.writeUntil(ctx, s.enc.Close); err != nil {
		return s.writeError(ctx, err)
	}
	if f := s.dest.stored(); f != nil {
		if err := s.verify(ctx, f, m); err != nil {
			return err
		}
	}
	if err := s.dest.publish(ctx, m, owned); err != nil {
		return err
	}
	s.published = true
	return nil
}

// verify compares the stored image with the manifest.
func (s *streamSink) verify(ctx context.Context, f *os.File, m *transfer.Manifest) error {
	op := "verify " + s.dest.name()
	if s.fromDisk == nil {
		s.via = transfer.ReadCached
		return verifyStored(ctx, op, (&File{f: f, path: op}).reader(), s.format, m)
	}
	if err := s.dest.sync(); err != nil { // a read would not report the error
		return err
	}
	via, err := verifyOnDisk(ctx, op, f, s.fromDisk, s.format, m)
	s.via = via
	return err
}

// ReadVia implements transfer.Local.
func (s *streamSink) ReadVia() transfer.ReadVia { return s.via }

// Discard removes the written data; after Commit there is nothing to remove.
func (s *streamSink) Discard(context.Context) error { return s.dest.remove() }

// Close removes a target that was not completed.
func (s *streamSink) Close() error {
	s.dest.stop()
	s.enc.abandon()
	var err error
	if !s.published {
		if err = s.dest.remove(); errors.Is(err, lease.ErrLapsed) {
			err = nil // it stays
		}
	}
	return errors.Join(err, s.dest.Close())
}
