package image

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/transfer"
)

// File is a regular file or a block device, as a medium and as a raw image. It is safe for
// concurrent use.
type File struct {
	f        *os.File
	path     string // as the user wrote it
	info     fs.FileInfo
	size     int64
	identity string
	reading  reading      // how the image in it is read, once that is detected
	ctime    atomic.Int64 // at the last check, nanoseconds
	holes    holes

	exclusive bool // nothing else on this host can open the device exclusively
	// writer describes a mounted file system, or swap, on the image that may write it; empty: none
	// was found.
	writer         string
	openForWriting bool // another process had the file open for writing when it was opened
	// seekHoles is SEEK_DATA and SEEK_HOLE of another file system, for tests; nil: that of f.
	seekHoles func(off int64, whence int) (int64, error)
}

var (
	_ transfer.RandomAccess   = (*File)(nil)
	_ transfer.ChangeDetector = (*File)(nil)
	_ transfer.Warner         = (*File)(nil)
	_ transfer.Described      = (*File)(nil)
	_ transfer.Resembler      = (*File)(nil)
	_ transfer.Unwatched      = (*File)(nil)
	_ medium                  = (*File)(nil)
)

// openFile opens a file or block device, and refuses everything else.
func openFile(roots Roots, path string) (*File, error) {
	op := "open " + path
	resolved, err := roots.Check(path)
	if err != nil {
		return nil, err
	}
	// Opening a device can have side effects, so its kind is checked before and after.
	info, err := os.Stat(resolved)
	if err != nil {
		return nil, fileError(op, err)
	}
	if err := checkKind(op, info); err != nil {
		return nil, err
	}
	s := &File{path: path}
	if isDevice(info) {
		s.f, s.exclusive, err = openExclusively(roots, resolved)
	} else {
		s.f, err = roots.open(resolved, os.O_RDONLY)
	}
	if err != nil {
		return nil, err
	}
	if err := s.inspect(op); err != nil {
		return nil, errors.Join(err, s.f.Close())
	}
	return s, nil
}

// inspect finds the size and identity of the open file, and refuses what cannot be an image.
func (s *File) inspect(op string) (err error) {
	if s.info, s.size, err = measure(s.f); err != nil {
		return fileError(op, err)
	}
	if err := checkKind(op, s.info); err != nil {
		return err
	}
	if s.size == 0 {
		return errEmpty(op)
	}
	s.identity = identity(s.info, s.size)
	s.ctime.Store(ctimeOf(s.info))
	s.openForWriting = !isDevice(s.info) && openForWriting(s.f)
	return nil
}

func checkKind(op string, info fs.FileInfo) error {
	kind := ""
	switch mode := info.Mode(); {
	case mode.IsRegular(), isDevice(info):
		return nil
	case mode.IsDir():
		kind = "a folder"
	case mode&fs.ModeNamedPipe != 0:
		kind = "a named pipe"
	case mode&fs.ModeSocket != 0:
		kind = "a socket"
	default:
		kind = "a character device"
	}
	return invalid(op, "give a regular file or a block device; for a stream use - with --local", "it is %s", kind)
}

func isDevice(info fs.FileInfo) bool {
	return info.Mode()&fs.ModeDevice != 0 && info.Mode()&fs.ModeCharDevice == 0
}

// measure finds the size of a file or block device. It moves the file's offset.
func measure(f *os.File) (fs.FileInfo, int64, error) {
	info, err := f.Stat()
	if err != nil || !isDevice(info) {
		return info, sizeOf(info), err
	}
	size, err := f.Seek(0, io.SeekEnd)
	return info, size, err
}

func sizeOf(info fs.FileInfo) int64 {
	if info == nil {
		return 0
	}
	return info.Size()
}

func (s *File) name() string { return s.path }

func (s *File) metadata() metadata { return metadata{fileName: s.path} }

func (s *File) random() transfer.RandomAccess { return s }

func (s *File) head(_ context.Context, n int) ([]byte, error) {
	head := make([]byte, n)
	n, err := s.f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fileError("read "+s.path, err)
	}
	return head[:n], nil
}

func (s *File) stream(context.Context) (*input, error) { return newInput(s.reader(), nil), nil }

// reader reads the file from its beginning, whatever its offset.
func (s *File) reader() readFunc {
	var off int64
	return func(_ context.Context, p []byte) (int, error) {
		n, err := s.f.ReadAt(p, off)
		off += int64(n)
		if err != nil && !errors.Is(err, io.EOF) {
			return n, fileError("read "+s.path, err)
		}
		return n, err
	}
}

// Size is the image's length in bytes, as it was when it was opened.
func (s *File) Size() int64 { return s.size }

// Extents yields the data of the file, as SEEK_DATA and SEEK_HOLE report it (lseek(2)). A block
// device is one extent. So is a file whose file system does not support these calls, or reports
// data as holes.
func (s *File) Extents(ctx context.Context) iter.Seq2[transfer.Extent, error] {
	return func(yield func(transfer.Extent, error) bool) {
		misreported, err := s.holesAreMisreported(ctx)
		if err != nil || misreported {
			yield(transfer.Extent{Len: s.size}, err)
			return
		}
		s.dataExtents(ctx)(yield)
	}
}

// dataExtents yields the extents that the file system reports as data.
func (s *File) dataExtents(ctx context.Context) iter.Seq2[transfer.Extent, error] {
	return func(yield func(transfer.Extent, error) bool) {
		for off := int64(0); off < s.size; {
			e, err := s.nextData(off)
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(transfer.Extent{}, err)
				return
			}
			if e.Len == 0 || !yield(e, nil) {
				return
			}
			off = e.Off + e.Len
		}
	}
}

// dataWithin is the first extent of data within the n bytes at off; its length is 0 if there is
// none.
func (s *File) dataWithin(ctx context.Context, off, n int64) (transfer.Extent, error) {
	misreported, err := s.holesAreMisreported(ctx)
	if err != nil || misreported {
		return transfer.Extent{Off: off, Len: n}, err
	}
	e, err := s.nextData(off)
	if err != nil || e.Off >= off+n {
		return transfer.Extent{}, err
	}
	e.Len = min(e.Len, off+n-e.Off)
	return e, nil
}

func (s *File) seek(off int64, whence int) (int64, error) {
	if s.seekHoles != nil {
		return s.seekHoles(off, whence)
	}
	return s.f.Seek(off, whence)
}

// nextData is the first extent of data at or after off; its length is 0 if there is none. The calls
// move the file's offset, which nothing in this package depends on.
func (s *File) nextData(off int64) (transfer.Extent, error) {
	from, err := s.seek(off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return transfer.Extent{}, nil
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
		return transfer.Extent{Off: off, Len: s.size - off}, nil
	case err != nil:
		return transfer.Extent{}, fileErrorAt("find data in "+s.path, off, err)
	}
	to, err := s.seek(from, unix.SEEK_HOLE)
	if err != nil {
		to = s.size
	}
	return transfer.Extent{Off: from, Len: max(0, min(to, s.size)-from)}, nil
}

// CheckImage compares the image with the file's manifest, if it has one.
func (s *File) CheckImage(m *transfer.Manifest) error { return s.reading.checkImage(s.path, m) }

// Warnings reports a manifest that was ignored, or compared in part, and a file system that reports
// data as holes.
func (s *File) Warnings(m *transfer.Manifest) []string {
	list := s.reading.warnings(s.path, m)
	s.holes.mu.Lock()
	defer s.holes.mu.Unlock()
	if s.holes.misreported {
		list = append(list,
			"the file system of "+s.path+" reports data as holes (SEEK_DATA), so all of the image was read")
	}
	return list
}

// ReadChunk reads from the file. CodeSourceChanged if the file has become shorter.
func (s *File) ReadChunk(ctx context.Context, c transfer.Chunk, p []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n, err := s.f.ReadAt(p, c.Off)
	switch {
	case n == len(p):
		return nil
	case errors.Is(err, io.EOF):
		return s.changedError(c.Off+int64(n), "it ends at %d", c.Off+int64(n))
	}
	return fileErrorAt("read "+s.path, c.Off+int64(n), err)
}

func sameObject(a, b fs.FileInfo) bool {
	if isDevice(a) && isDevice(b) {
		return a.Sys().(*syscall.Stat_t).Rdev == b.Sys().(*syscall.Stat_t).Rdev
	}
	return os.SameFile(a, b)
}

// changedError is the error of a source that has changed; off is negative if no offset is known.
func (s *File) changedError(off int64, format string, args ...any) error {
	e := transfer.Errorf(transfer.CodeSourceChanged, hintUnchanged,
		"the image changed: "+format, args...)
	if e.Op = "read " + s.path; off >= 0 {
		e.Offset = &off
	}
	return e
}

// Close closes the file.
func (s *File) Close() error {
	if err := s.f.Close(); err != nil {
		return fileError("close "+s.path, err)
	}
	return nil
}
