package image

import (
	"context"
	"errors"
	"os"

	"github.com/transferd/transferd/internal/fsx"
	"github.com/transferd/transferd/internal/lease"
	"github.com/transferd/transferd/internal/transfer"
)

// streamSink writes an image in order, compressed or as it is. It is not safe for concurrent use:
// whoever writes in order waits for each chunk. What an attempt leaves is of no use to the next, so
// Close removes it.
type streamSink struct {
	place     appendable
	format    *format
	enc       encoder
	next      int64 // offset of the chunk that is due
	published bool
	fromDisk  *fsx.System      // reads the stored file back from the disk; nil: through the page cache
	via       transfer.ReadVia // how it was read back; empty: it was not
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
	return &streamSink{place: p, format: f, enc: enc}, nil
}

// Traits implements transfer.Sink.
func (s *streamSink) Traits() transfer.Traits {
	if s.place.stored() == nil {
		return transfer.Traits{ReadBack: transfer.ReadBackNever}
	}
	return transfer.Traits{ReadBack: transfer.ReadBackInCommit}
}

// WriteChunk appends a chunk. An error may concern one that came before.
func (s *streamSink) WriteChunk(ctx context.Context, c transfer.Chunk, p []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.Off != s.next || c.Len != len(p) {
		return invalid("write "+s.place.name(), "", "chunk %d at %d came where %d was due", c.Index, c.Off, s.next)
	}
	err := s.place.during(ctx, func() error {
		_, err := s.enc.Write(p)
		return err
	})
	if err != nil {
		return s.writeError(ctx, err)
	}
	s.next += int64(c.Len)
	return nil
}

func (s *streamSink) writeError(ctx context.Context, err error) error {
	var told *transfer.Error
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &told):
		return err
	}
	return fileErrorAt("write "+s.place.name(), s.next, err)
}

// Commit completes the stream, reads it back where that is possible, decodes it and compares each
// chunk with the manifest, and only then gives the target its name. A difference is CodeMismatch
// with its offset in the image.
func (s *streamSink) Commit(ctx context.Context, m *transfer.Manifest, owned func(context.Context) error) error {
	if err := s.place.during(ctx, s.enc.Close); err != nil {
		return s.writeError(ctx, err)
	}
	if f := s.place.stored(); f != nil {
		if err := s.verify(ctx, f, m); err != nil {
			return err
		}
	}
	if err := s.place.publish(ctx, m, owned); err != nil {
		return err
	}
	s.published = true
	return nil
}

// verify compares the stored image with the manifest.
func (s *streamSink) verify(ctx context.Context, f *os.File, m *transfer.Manifest) error {
	op := "verify " + s.place.name()
	if s.fromDisk == nil {
		s.via = transfer.ReadCached
		return verifyStored(ctx, op, (&File{f: f, path: op}).reader(), s.format, m)
	}
	if err := s.place.sync(); err != nil { // a read after it would not report the error
		return err
	}
	via, err := verifyOnDisk(ctx, op, f, s.fromDisk, s.format, m)
	s.via = via
	return err
}

// ReadVia implements transfer.Local.
func (s *streamSink) ReadVia() transfer.ReadVia { return s.via }

// Discard removes what was written; after Commit there is nothing to remove.
func (s *streamSink) Discard(context.Context) error { return s.place.remove() }

// Close removes a target that was not completed.
func (s *streamSink) Close() error {
	s.place.stop()
	s.enc.abandon()
	var err error
	if !s.published {
		if err = s.place.remove(); errors.Is(err, lease.ErrLapsed) {
			err = nil // it stays
		}
	}
	return errors.Join(err, s.place.Close())
}
