package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/fsx"
	"github.com/transferd/transferd/internal/transfer"
)

// diskReader reads an open file from its disk. Reads of the file itself come from the page cache,
// even if the disk could not store the bytes. It is safe for concurrent use.
type diskReader struct {
	f      *os.File
	direct int         // the same file, opened with O_DIRECT; -1: the file system does not support it
	align  int64       // of offsets, lengths and memory, for direct, bytes
	reads  atomic.Bool // there was a read
	drops  atomic.Bool // there was a read without direct
}

// diskAlign is the alignment where a file system does not report one, in bytes.
const diskAlign = 4096

func newDiskReader(f *os.File, sys *fsx.System) *diskReader {
	d := &diskReader{f: f, align: diskAlign}
	var err error
	if d.direct, err = sys.Open(procPath(f), unix.O_RDONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0); err != nil {
		d.direct = -1
		return d
	}
	var st unix.Statx_t
	err = unix.Statx(d.direct, "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &st)
	if err == nil && st.Mask&unix.STATX_DIOALIGN != 0 {
		d.align = int64(max(diskAlign, st.Dio_mem_align, st.Dio_offset_align))
	}
	return d
}

// via says how it has read so far.
func (d *diskReader) via() transfer.ReadVia {
	switch {
	case !d.reads.Load():
		return transfer.ReadCached
	case d.drops.Load():
		return transfer.ReadDropped
	}
	return transfer.ReadDirect
}

// diskWindow is the size of one read, in bytes: with 128 KiB a disk is half as fast.
const diskWindow = 1 << 20

// diskBuffers are large enough for an aligned window at any address.
var diskBuffers = sync.Pool{New: func() any { return new([2 * diskWindow]byte) }}

// aligned is the first part of a buffer, of diskWindow bytes, that begins at a multiple of align.
func aligned(buf *[2 * diskWindow]byte, align int64) []byte {
	skip := -int64(uintptr(unsafe.Pointer(buf))) & (align - 1) //nolint:gosec // only the address is used
	return buf[skip : skip+diskWindow]
}

// read calls use with the bytes from off to end, in pieces and in order.
func (d *diskReader) read(ctx context.Context, off, end int64, use func(p []byte) error) error {
	buf := diskBuffers.Get().(*[2 * diskWindow]byte)
	defer diskBuffers.Put(buf)
	window := aligned(buf, d.align)
	for off < end {
		if err := ctx.Err(); err != nil {
			return err
		}
		from := off &^ (d.align - 1)
		size := min(diskWindow, (end-from+d.align-1)&^(d.align-1))
		n, err := d.readWindow(window[:size], from)
		if err != nil {
			return err
		}
		if from+int64(n) <= off {
			return io.ErrUnexpectedEOF
		}
		p := window[off-from : min(int64(n), end-from)]
		if err := use(p); err != nil {
			return err
		}
		off += int64(len(p))
	}
	return nil
}

// readWindow reads p at off, both aligned. n is less than len(p) at the file's end.
func (d *diskReader) readWindow(p []byte, off int64) (n int, err error) {
	d.reads.Store(true)
	if d.direct >= 0 && !d.drops.Load() {
		n, err = pread(d.direct, p, off)
		if !fsx.Unsupported(err) {
			return n, err
		}
		// Some file systems refuse O_DIRECT only at the first read.
	}
	d.drops.Store(true)
	if err := d.drop(off, int64(len(p))); err != nil {
		return 0, err
	}
	return pread(int(d.f.Fd()), p, off)
}

// drop removes a range from the page cache. It writes dirty pages first, because the kernel does
// not drop them.
func (d *diskReader) drop(off, n int64) error {
	fd := int(d.f.Fd())
	const all = unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WRITE | unix.SYNC_FILE_RANGE_WAIT_AFTER
	if err := unix.SyncFileRange(fd, off, n, all); err != nil && !fsx.Unsupported(err) {
		return fmt.Errorf("%w: %w", transfer.ErrLost, err)
	}
	if err := unix.Fadvise(fd, off, n, unix.FADV_DONTNEED); err != nil && !fsx.Unsupported(err) {
		return fmt.Errorf("drop cache: %w", err)
	}
	return nil
}

func pread(fd int, p []byte, off int64) (n int, err error) {
	for {
		if n, err = unix.Pread(fd, p, off); !errors.Is(err, unix.EINTR) {
			return max(n, 0), err
		}
	}
}

// reader reads the file in order, from its beginning.
func (d *diskReader) reader(name string) readFunc {
	var off int64
	buf := make([]byte, 0, diskWindow)
	ahead := buf // bytes read ahead
	return func(ctx context.Context, p []byte) (int, error) {
		if len(ahead) == 0 {
			ahead = buf
			err := d.read(ctx, off, off+diskWindow, func(b []byte) error {
				ahead = append(ahead, b...)
				return nil
			})
			if len(ahead) == 0 && errors.Is(err, io.ErrUnexpectedEOF) {
				return 0, io.EOF
			}
			if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
				return 0, fileErrorAt("read "+name, off, err)
			}
			off += int64(len(ahead))
		}
		n := copy(p, ahead)
		ahead = ahead[n:]
		return n, nil
	}
}

// Close does not close the file itself.
func (d *diskReader) Close() error {
	if d.direct < 0 {
		return nil
	}
	return unix.Close(d.direct)
}
