package image

import (
	"context"
	"errors"
	"io"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/lease"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/verify"
)

// offsetSink writes a raw image by offset, into PATH.partial or a block device. It is safe for
// concurrent use.
type offsetSink struct {
	place  seekable
	lease  *lease.Lease // checked directly before each system call that changes something
	size   int64        // of the image or, if larger, of the device; bytes
	sparse bool         // unwritten ranges are holes, or data of an earlier attempt, which Commit clears
	blank  bool         // unwritten ranges read as zeros
	disk   *diskReader

	// mu is held while bytes are written. The kernel lets one write at a time into a file, and who
	// waits for that there keeps a processor busy.
	mu sync.Mutex
}

var (
	_ transfer.Sink         = (*offsetSink)(nil)
	_ transfer.WriteBacker  = (*offsetSink)(nil)
	_ transfer.BlankChecker = (*offsetSink)(nil)
	_ transfer.Clearer      = (*offsetSink)(nil)
	_ transfer.Discarder    = (*offsetSink)(nil)
	_ transfer.Flusher      = (*offsetSink)(nil)
	_ transfer.DiskReader   = (*offsetSink)(nil)
	_ transfer.Local        = (*offsetSink)(nil)
)

// WriteChunk writes at the chunk's offset. A full disk is CodeNoSpace.
func (s *offsetSink) WriteChunk(ctx context.Context, c transfer.Chunk, p []byte) error {
	if err := s.check(ctx, c, len(p)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n, err := writeAt(s.lease, s.place.file(), p, c.Off); err != nil {
		return fileErrorAt("write "+s.place.name(), c.Off+int64(n), err)
	}
	return nil
}

func (s *offsetSink) check(ctx context.Context, c transfer.Chunk, n int) error {
	if c.Off < 0 || n != c.Len || int64(n) > s.size-c.Off {
		return invalid("write "+s.place.name(), "", "%d bytes at %d are no chunk of %d bytes", n, c.Off, s.size)
	}
	return ctx.Err()
}

const (
	readBackSize  = 128 << 10
	writeBackSize = 2 * readBackSize
)

// readBackBuffers are small enough for a processor's cache, where whoever compares the bytes finds
// them.
var readBackBuffers = sync.Pool{New: func() any { return new([readBackSize]byte) }}

// ReadBack reads from the file, and so as a rule from the memory that caches it.
func (s *offsetSink) ReadBack(ctx context.Context, c transfer.Chunk, w io.Writer) error {
	buf := readBackBuffers.Get().(*[readBackSize]byte)
	defer readBackBuffers.Put(buf)
	for off, end := c.Off, c.Off+int64(c.Len); off < end; {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := buf[:min(readBackSize, end-off)]
		n, err := s.place.file().ReadAt(p, off)
		if n < len(p) {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fileErrorAt("read back "+s.place.name(), off+int64(n), err)
		}
		if _, err := w.Write(p); err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}

// ReadDisk implements transfer.DiskReader.
func (s *offsetSink) ReadDisk(ctx context.Context, c transfer.Chunk, w io.Writer) error {
	at := c.Off
	var taken error // an error of w
	err := s.disk.read(ctx, c.Off, c.Off+int64(c.Len), func(p []byte) error {
		at += int64(len(p))
		_, taken = w.Write(p)
		return taken
	})
	if err == nil || taken != nil || ctx.Err() != nil {
		return err
	}
	return fileErrorAt("read back "+s.place.name(), at, err)
}

// ReadVia implements transfer.Local.
func (s *offsetSink) ReadVia() transfer.ReadVia { return s.disk.via() }

// Flush implements transfer.Flusher.
func (s *offsetSink) Flush(context.Context) error { return s.place.sync() }

// WriteBack writes and reads back in pieces that fit a core's second-level cache: a download takes
// a tenth less processor time by it.
func (s *offsetSink) WriteBack(ctx context.Context, c transfer.Chunk, p []byte, w io.Writer) error {
	if err := s.check(ctx, c, len(p)); err != nil {
		return err
	}
	for n := 0; n < len(p); n += writeBackSize {
		part := transfer.Chunk{Index: c.Index, Off: c.Off + int64(n), Len: min(writeBackSize, len(p)-n)}
		if err := s.WriteChunk(ctx, part, p[n:n+part.Len]); err != nil {
			return err
		}
		if err := s.ReadBack(ctx, part, w); err != nil {
			return err
		}
	}
	return nil
}

// Traits implements transfer.Sink. A device may hold anything, so its zeros are written.
func (s *offsetSink) Traits() transfer.Traits {
	t := transfer.Traits{Rewritable: true, ReadBack: transfer.ReadBackAtOnce, Capacity: s.size}
	if s.sparse {
		t.Zeros = transfer.ZerosCleared
	}
	return t
}

// ClearChunk implements transfer.Clearer by a hole, where the file system has holes (fallocate(2)).
func (s *offsetSink) ClearChunk(ctx context.Context, c transfer.Chunk) error {
	if err := s.check(ctx, c, c.Len); err != nil {
		return err
	}
	if err := s.lease.Check(); err != nil {
		return err
	}
	err := unix.Fallocate(int(s.place.file().Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, c.Off, int64(c.Len))
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return s.WriteChunk(ctx, c, make([]byte, c.Len))
	}
	if err != nil {
		return fileErrorAt("clear "+s.place.name(), c.Off, err)
	}
	return nil
}

// Blank implements transfer.BlankChecker: what is not written of a file that was just begun is a
// hole.
func (s *offsetSink) Blank(context.Context) (bool, error) { return s.blank, nil }

// Commit makes the image durable and gives a file its name.
func (s *offsetSink) Commit(ctx context.Context, m *transfer.Manifest, owned func(context.Context) error) error {
	// clearRest changes the file, so the proof is asked for before it, and by publish once more.
	if err := owned(ctx); err != nil {
		return err
	}
	if s.sparse {
		if err := s.clearRest(ctx, m); err != nil {
			return err
		}
	}
	return s.place.publish(ctx, m, owned)
}

// clearRest makes sure that chunks which are zeros, and so perhaps were never written, read as
// zeros. They may not where an attempt that was cut off, or another job, left something in the
// .partial. Holes are not read, so as a rule this costs no more than a look at the file's extents.
func (s *offsetSink) clearRest(ctx context.Context, m *transfer.Manifest) error {
	var next int64
	for e, err := range s.written().Extents(ctx) {
		if err != nil {
			return err
		}
		for i := max(next, e.Off/int64(m.ChunkSize)); i*int64(m.ChunkSize) < e.Off+e.Len; i++ {
			next = i + 1
			if _, ok := m.Chunks[i]; ok {
				continue
			}
			if err := s.clear(ctx, transfer.ChunkAt(i, m.Size, m.ChunkSize)); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

func (s *offsetSink) clear(ctx context.Context, c transfer.Chunk) error {
	p := make([]byte, c.Len)
	if err := s.written().ReadChunk(ctx, c, p); err != nil {
		return err
	}
	if verify.Sum(p) == verify.ZeroDigest(c.Len) {
		return nil
	}
	return s.ClearChunk(ctx, c)
}

// written is the image as it is stored so far.
func (s *offsetSink) written() *File {
	return &File{f: s.place.file(), path: s.place.name(), size: s.size}
}

// Discard removes what the job made of a file; after Commit there is nothing to remove.
func (s *offsetSink) Discard(context.Context) error { return s.place.remove() }

// Close releases the place. What was written stays, for a later attempt to go on with.
func (s *offsetSink) Close() error { return errors.Join(s.disk.Close(), s.place.Close()) }
