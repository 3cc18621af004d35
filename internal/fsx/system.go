package fsx

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// System is the system calls in which file systems differ: some do not support them, and some
// report through them, once, that they have lost data. Outside of tests it is that of Kernel.
type System struct {
	Fsync, Syncfs, Close func(fd int) error
	Renameat2            func(fromDir int, from string, toDir int, to string, flags uint) error
	Linkat               func(fromDir int, from string, toDir int, to string, flags int) error
	Fsetxattr            func(fd int, name string, value []byte, flags int) error
	Open                 func(path string, flags int, perm uint32) (fd int, err error)
}

// Kernel is the system calls of this host.
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

// Sync makes the data of f durable, and returns the error that closing f would: some file systems
// report only then that they have lost data. Where single files cannot be synced, it syncs the
// whole file system (syncfs(2)).
//
// An error is final: it is unknown how much of f is stored, reads are served from the page cache,
// and since the kernel reports an error once, another Sync may succeed (fsync(2)).
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

// closeCopy closes a duplicate of a descriptor: a file system flushes a file on each close
// (close(2)).
func (s *System) closeCopy(fd int) error {
	other, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("duplicate descriptor: %w", err)
	}
	if err := s.Close(other); !errors.Is(err, unix.EINTR) { // with EINTR it is closed all the same
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

// SyncDir makes the names in an open folder durable, where the file system can (fsync(2)).
func (s *System) SyncDir(dir *os.File) error {
	err := untilDone(func() error { return s.Fsync(int(dir.Fd())) })
	if err != nil && !Unsupported(err) {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}
