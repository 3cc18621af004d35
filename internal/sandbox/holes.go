package sandbox

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// isHole reports whether n bytes from off on are a hole. It moves the file's offset.
func isHole(f *os.File, off, n int64) bool {
	data, err := f.Seek(off, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return true // no data up to the end
	}
	return err == nil && data >= off+n
}

// nextData is the first range of data at or after off and before end; from == end if there is none.
// If the file system has no holes, everything is data. It moves the file's offset.
func nextData(f *os.File, off, end int64) (from, to int64) {
	from, err := f.Seek(off, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return end, end
	}
	if err != nil {
		return off, end
	}
	if from >= end {
		return end, end
	}
	to, err = f.Seek(from, unix.SEEK_HOLE)
	if err != nil {
		return from, end
	}
	return from, min(to, end)
}

// punchHole frees the space of n bytes from off on, which then read as zeros. errNoHoles: the file
// system cannot do it.
func punchHole(f *os.File, off, n int64) error {
	err := retryInterrupted(func() error {
		return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	})
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return errNoHoles
	}
	return err
}

// copyRange copies n bytes at off in the kernel, which may share blocks. errNoHoles: the kernel
// cannot do it for these files.
func copyRange(dst, src *os.File, off, n int64) error {
	for n > 0 {
		from, to := off, off
		var k int
		err := retryInterrupted(func() (err error) {
			k, err = unix.CopyFileRange(int(src.Fd()), &from, int(dst.Fd()), &to, int(n), 0)
			return err
		})
		switch {
		case errors.Is(err, unix.EXDEV), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS),
			errors.Is(err, unix.EINVAL), errors.Is(err, unix.EPERM):
			return errNoHoles
		case err != nil:
			return err
		case k == 0:
			return io.ErrUnexpectedEOF
		}
		off, n = off+int64(k), n-int64(k)
	}
	return nil
}

func retryInterrupted(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
