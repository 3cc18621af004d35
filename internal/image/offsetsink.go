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
	dest   seekable
	lease  *lease.Lease // checked directly before each system call that changes something
	size   int64        // of the image or, if larger, of the device; bytes
	sparse bool         // unwritten ranges are holes, or data of an earlier attempt, which Commit clears
	blank  bool         // unwritten ranges read as zeros
	disk   *diskReader

	// mu is held during writes. The kernel allows one write at a time per file, and a writer that
	// waits in the kernel keeps a processor busy.
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
	if n, err := writeAt(s.lease, s.dest.file(), p, c.Off); err != nil {
		return fileErrorAt("write "+s.dest.name(), c.Off+int64(n), err)
	}
	return nil
}

func (s *offsetSink) check(ctx context.Context, c transfer.Chunk, n int) error {
	if c.Off < 0 || n != c.Len || int64(n) > s.size-c.Off {
		return invalid("write "+s.dest.name(), "", "%d bytes at %d are no chunk of %d bytes", n, c.Off, s.size)
	}
	return ctx.Err()
}

const (
	readBackSize  = 128 << 10
	writeBackSize = 2 * readBackSize
)

// readBackBuffers are small enough that their bytes are still in a processor's cache when they are
// compared.
var readBackBuffers = sync.Pool{New: func() any { return new([readBackSize]byte) }}

// ReadBack reads from the file, which usually means from the page cache.
func (s *offsetSink) ReadBack(ctx context.Context, c transfer.Chunk, w io.Writer) error {
	buf := readBackBuffers.Get().(*[readBackSize]byte)
	defer readBackBuffers.Put(buf)
	for off, end := c.Off, c.Off+int64(c.Len); off < end; {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := buf[:min(readBackSize, end-off)]
		n, err := s.dest.file().ReadAt(p, off)
		if n < len(p) {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fileErrorAt("read back "+s.dest.name(), off+int64(n), err)
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
	var writeErr error // of w
	err := s.disk.read(ctx, c.Off, c.Off+int64(c.Len), func(p []byte) error {
		at += int64(len(p))
		_, writeErr = w.Write(p)
		return writeErr
	})
	if err == nil || writeErr != nil || ctx.Err() != nil {
		return err
	}
	return fileErrorAt("read back "+s.dest.name(), at, err)
}

// ReadVia implements transfer.Local.
func (s *offsetSink) ReadVia() transfer.ReadVia { return s.disk.via() }

// Flush implements transfer.Flusher.
func (s *offsetSink) Flush(context.Context) error { return s.dest.sync() }

// WriteBack writes and reads back in pieces that fit a core's second-level cache. A download takes
// a tenth less processor time than with whole chunks.
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

// Traits implements transfer.Sink. Zeros of a device must be written, because it may hold any data.
func (s *offsetSink) Traits() transfer.Traits {
	t := transfer.Traits{Rewritable: true, ReadBack: transfer.ReadBackAtOnce, Capacity: s.size}
	if s.sparse {
		t.Zeros = transfer.ZerosCleared
	}
	return t
}

// ClearChunk implements transfer.Clearer. It makes a hole, if the file system has holes
// (fallocate(2)).
func (s *offsetSink) ClearChunk(ctx context.Context, c transfer.Chunk) error {
	if err := s.check(ctx, c, c.Len); err != nil {
		return err
	}
	if err := s.lease.Check(); err != nil {
		return err
	}
	const hole = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
	err := unix.Fallocate(int(s.dest.file().Fd()), hole, c.Off, int64(c.Len))
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return s.WriteChunk(ctx, c, make([]byte, c.Len))
	}
	if err != nil {
		return fileErrorAt("clear "+s.dest.name(), c.Off, err)
	}
	return nil
}

// Blank implements transfer.BlankChecker: what is not written of a new file is a hole.
func (s *offsetSink) Blank(context.Context) (bool, error) { return s.blank, nil }

// Commit makes the image durable and gives a file its name.
func (s *offsetSink) Commit(ctx context.Context, m *transfer.Manifest, owned func(context.Context) error) error {
	// clearUnwritten changes the file, so Commit checks ownership before it. publish checks it
	// again.
	if err := owned(ctx); err != nil {
		return err
	}
	if s.sparse {
		if err := s.clearUnwritten(ctx, m); err != nil {
			return err
		}
	}
	return s.dest.publish(ctx, m, owned)
}

// clearUnwritten makes sure that chunks of zeros, which may never have been written, read as zeros.
// A crashed attempt, or another job, may have left other data in the .partial. clearUnwritten does
// not read holes, so it usually costs one walk over the file's extents.
func (s *offsetSink) clearUnwritten(ctx context.Context, m *transfer.Manifest) error {
	var next int64
	for e, err := range s.stored().Extents(ctx) {
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
	if err := s.stored().ReadChunk(ctx, c, p); err != nil {
		return err
	}
	if verify.Sum(p) == verify.ZeroDigest(c.Len) {
		return nil
	}
	return s.ClearChunk(ctx, c)
}

// stored is the image as far as it is stored.
func (s *offsetSink) stored() *File {
	return &File{f: s.dest.file(), path: s.dest.name(), size: s.size}
}

// Discard removes the .partial; after Commit there is nothing to remove.
func (s *offsetSink) Discard(context.Context) error { return s.dest.remove() }

// Close closes the destination. The written data stays for a later attempt.
func (s *offsetSink) Close() error { return errors.Join(s.disk.Close(), s.dest.Close()) }
