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

// identity changes when the image changes. For a file it contains size, modification time and
// inode. For a device it contains number and size, because writes to a device leave no trace. It
// does not contain the device number of a file's file system, because hosts that share a file
// system number it differently.
func identity(info fs.FileInfo, size int64) string {
	st := info.Sys().(*syscall.Stat_t)
	if isDevice(info) {
		return fmt.Sprintf("device=%d:%d size=%d", unix.Major(st.Rdev), unix.Minor(st.Rdev), size)
	}
	return fmt.Sprintf("size=%d mtime=%d inode=%d", size, info.ModTime().UnixNano(), st.Ino)
}

// ctimeOf is the time of the last change of a file or its inode (ctime), which programs cannot set.
// It is zero for a device.
func ctimeOf(info fs.FileInfo) int64 {
	if isDevice(info) {
		return 0
	}
	return info.Sys().(*syscall.Stat_t).Ctim.Nano()
}

const ctimePrefix = " ctime="

// Identity contains size, mtime and ctime in nanoseconds, and inode. For a block device it contains
// number and size.
func (s *File) Identity() string {
	if isDevice(s.info) {
		return s.identity
	}
	return fmt.Sprint(s.identity, ctimePrefix, ctimeOf(s.info))
}

// Resembles reports whether a file of that identity may have the same content: all but the ctime is
// equal.
func (s *File) Resembles(identity string) bool {
	known, _, _ := strings.Cut(identity, ctimePrefix)
	return known == s.identity
}

// Unchanged returns CodeSourceChanged if the file has changed, or its path leads to another file,
// and an error with transfer.ErrTouched if the file may have changed.
func (s *File) Unchanged(context.Context) error {
	info, size, err := measure(s.f)
	if err != nil {
		return fileError("stat "+s.path, err)
	}
	if now := identity(info, size); now != s.identity {
		return s.changedError(-1, "it was %s and is now %s", s.identity, now)
	}
	current, err := os.Stat(s.path)
	if err != nil {
		return s.changedError(-1, "it is gone (%v)", withoutPath(err))
	}
	if !sameObject(s.info, current) {
		return s.changedError(-1, "another file has replaced it")
	}
	if before := s.ctime.Swap(ctimeOf(info)); before != ctimeOf(info) {
		return &transfer.Error{
			Op: "read " + s.path, Code: transfer.CodeSourceChanged, Hint: hintUnchanged, Err: transfer.ErrTouched,
		}
	}
	return nil
}

const hintUnchanged = "leave the image alone while it is read, and start a new job"

// UndetectedChanges describes what may have changed the image without a trace. Writes to a device
// leave none, and writes to a file through a memory mapping may leave none.
func (s *File) UndetectedChanges() string {
	switch {
	case s.writer != "":
		return fmt.Sprintf("%s was in use while it was read (%s), so the copy may be of a file system in the middle "+
			"of a change", s.path, s.writer)
	case isDevice(s.info) && s.exclusive:
		return "it is unknown whether " + s.path + " was written while it was read; it was not mounted"
	case isDevice(s.info):
		return "it is unknown whether " + s.path + " was written while it was read; other programs had it in use"
	case s.openForWriting || openForWriting(s.f):
		return "another program had " + s.path + " open for writing, and changes through a memory mapping may be " +
			"undetected"
	}
	return ""
}

// DropCache asks the kernel to drop the file's page cache, so that later reads come from the disk.
func (s *File) DropCache() error {
	if err := unix.Fadvise(int(s.f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil && !errors.Is(err, unix.EINVAL) {
		return fileError("drop the cache of "+s.path, err)
	}
	return nil
}

// openForWriting reports whether a process has the file open, or mapped, for writing. The kernel
// grants no read lease on such a file (fcntl(2), F_SETLEASE). On a file system without leases it is
// false.
func openForWriting(f *os.File) bool {
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
	if err == nil {
		_, _ = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
	}
	return errors.Is(err, unix.EAGAIN)
}
