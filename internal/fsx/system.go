package fsx

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// System holds the system calls in which file systems differ: some do not support them, and some
// report lost data through them, once. Outside of tests it is the result of Kernel.
type System struct {
	Fsync, Syncfs, Close func(fd int) error
	Renameat2            func(fromDir int, from string, toDir int, to string, flags uint) error
	Linkat               func(fromDir int, from string, toDir int, to string, flags int) error
	Fsetxattr            func(fd int, name string, value []byte, flags int) error
	Open                 func(path string, flags int, perm uint32) (fd int, err error)
}

// Kernel holds the system calls of this host.
func Kernel() *System {
	return &System{
		Fsync: unix.Fsync, Syncfs: unix.Syncfs, Close: unix.Close,
		Renameat2: unix.Renameat2, Linkat: unix.Linkat, Fsetxattr: unix.Fsetxattr, Open: unix.Open,
	}
}

// Unsupported reports whether err says that a file system does not support a call.
func Unsupported(err error) bool {
	return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EOPNOTSUPP)
}

// Sync makes the data of f durable. It also returns the error that a close of f would return,
// because some file systems report lost data only then. Where the file system cannot sync single
// files, Sync syncs the whole file system (syncfs(2)).
//
// An error is final. It is unknown how much of f is stored, and reads come from the page cache. The
// kernel reports an error only once, so another Sync may succeed (fsync(2)).
func (s *System) Sync(f *os.File) error {
	fd := int(f.Fd())
	err := untilDone(func() error { return s.Fsync(fd) })
	if Unsupported(err) {
		err = untilDone(func() error { return s.Syncfs(fd) })
	}
	if err == nil {
		err = s.closeCopy(fd)
	}
	if err != nil {
		return &fs.PathError{Op: "sync", Path: f.Name(), Err: err}
	}
	return nil
}

// closeCopy closes a duplicate of a descriptor, because a file system flushes a file on each close
// (close(2)).
func (s *System) closeCopy(fd int) error {
	other, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("duplicate descriptor: %w", err)
	}
	if err := s.Close(other); !errors.Is(err, unix.EINTR) { // with EINTR it is closed, too
		return err
	}
	return nil
}

// untilDone repeats a call that a signal interrupts.
func untilDone(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// SyncDir makes the entries of an open folder durable, where the file system can (fsync(2)).
func (s *System) SyncDir(dir *os.File) error {
	err := untilDone(func() error { return s.Fsync(int(dir.Fd())) })
	if err != nil && !Unsupported(err) {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}
