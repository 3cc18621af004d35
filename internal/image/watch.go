package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/transfer"
)

// identity is what tells whether an image is still the one it was: of a file its size, time of
// change and inode, of a device its number and size, since nothing says whether a device was
// written. The number of the device that a file is on is left out, because hosts that share a file
// system number it differently.
func identity(info fs.FileInfo, size int64) string {
	st := info.Sys().(*syscall.Stat_t)
	if isDevice(info) {
		return fmt.Sprintf("device=%d:%d size=%d", unix.Major(st.Rdev), unix.Minor(st.Rdev), size)
	}
	return fmt.Sprintf("size=%d mtime=%d inode=%d", size, info.ModTime().UnixNano(), st.Ino)
}

// touched is the time of the last change of a file or of what describes it, which nobody can set back;
// zero of a device.
func touched(info fs.FileInfo) int64 {
	if isDevice(info) {
		return 0
	}
	return info.Sys().(*syscall.Stat_t).Ctim.Nano()
}

const ctimeMark = " ctime="

// Identity is made of size, both times of change in nanoseconds and inode; of a block device, of its
// number and size.
func (s *File) Identity() string {
	if isDevice(s.info) {
		return s.identity
	}
	return fmt.Sprint(s.identity, ctimeMark, touched(s.info))
}

// Resembles reports whether a file of that identity may have the same content: all but the time at which
// it was touched is equal.
func (s *File) Resembles(identity string) bool {
	known, _, _ := strings.Cut(identity, ctimeMark)
	return known == s.identity
}

// Unchanged returns CodeSourceChanged if the file, or what its path leads to, is not what was
// opened, and an error with transfer.ErrTouched if it may not be.
func (s *File) Unchanged(context.Context) error {
	info, size, err := measure(s.f)
	if err != nil {
		return fileError("look at "+s.path, err)
	}
	if now := identity(info, size); now != s.identity {
		return s.changed(-1, "it was %s, it is %s", s.identity, now)
	}
	there, err := os.Stat(s.path)
	if err != nil {
		return s.changed(-1, "it is gone (%v)", bare(err))
	}
	if !sameObject(s.info, there) {
		return s.changed(-1, "another file has taken its place")
	}
	if before := s.ctime.Swap(touched(info)); before != touched(info) {
		return &transfer.Error{
			Op: "read " + s.path, Code: transfer.CodeSourceChanged, Hint: hintLeaveAlone, Err: transfer.ErrTouched,
		}
	}
	return nil
}

const hintLeaveAlone = "leave the image alone while it is read, and start a new job"

// Unseen says what may have changed the image without a trace: of a device nothing tells that, of a file
// writes through a memory mapping need not.
func (s *File) Unseen() string {
	switch {
	case s.writer != "":
		return fmt.Sprintf("%s was in use while it was read (%s), so the copy may be of a file system in the middle of a change",
			s.path, s.writer)
	case isDevice(s.info) && s.exclusive:
		return "nothing tells whether " + s.path + " was written while it was read; it was not mounted"
	case isDevice(s.info):
		return "nothing tells whether " + s.path + " was written while it was read; other programs had it in use"
	case s.openForWriting || openForWriting(s.f):
		return "another program had " + s.path + " open for writing, and what it changed through a memory mapping may not show"
	}
	return ""
}

// DropCache has what is read from now on come from the disk, as far as the kernel does what it is asked.
func (s *File) DropCache() error {
	if err := unix.Fadvise(int(s.f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil && !errors.Is(err, unix.EINVAL) {
		return fileError("drop the cache of "+s.path, err)
	}
	return nil
}

// openForWriting reports whether somebody has the file open for writing, or mapped so. The kernel gives
// nobody a read lease on such a file (fcntl(2), F_SETLEASE); where it gives none at all, nothing is known.
func openForWriting(f *os.File) bool {
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
	if err == nil {
		_, _ = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
	}
	return errors.Is(err, unix.EAGAIN)
}
