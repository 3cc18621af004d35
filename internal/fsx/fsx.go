// Package fsx writes files that appear atomically: under a temporary name, synced, renamed, and the
// folder synced, so that a reader, and whoever looks after a crash, finds the whole new file, or
// what was there before.
//
// All functions are safe for concurrent use, also by several processes on one folder.
package fsx

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// The names of temporary files. They do not depend on the file's own name, which may be as long as
// a name can be.
const (
	temporaryPrefix = ".transferd-"
	temporarySuffix = ".tmp"
)

// WriteFile makes the file at path of what write writes, durably. perm are its permissions before
// the umask. Unless replace is set, a file that has the name already stays, and the error wraps
// fs.ErrExist.
//
// After an error there is no temporary file left, and path is as it was, with one exception: if
// only the folder cannot be synced, the new file is in place, but may be gone after a crash; that
// error wraps ErrNotDurable.
func WriteFile(path string, perm fs.FileMode, replace bool, write func(io.Writer) error) error {
	return closed(CreateFile(path, perm, replace, write))
}

// WriteFileAt is WriteFile for a name in an open folder, wherever the folder's own name has gone.
func WriteFileAt(dir *os.File, name string, perm fs.FileMode, replace bool, write func(io.Writer) error) error {
	return closed(createFileAt(dir, name, perm, replace, write, SyncOpenDir))
}

// CreateFile is WriteFile, and returns the file, open for reading and writing, unless it is not in
// place: it does so with ErrNotDurable, too.
func CreateFile(path string, perm fs.FileMode, replace bool, write func(io.Writer) error) (*os.File, error) {
	dir, err := openDir(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	f, err := createFileAt(dir, filepath.Base(path), perm, replace, write, SyncOpenDir)
	return f, errors.Join(err, dir.Close())
}

func closed(f *os.File, err error) error {
	if f == nil {
		return err
	}
	return errors.Join(err, f.Close())
}

// ErrNotDurable is of a file that has been put in place in a folder that could not be synced.
var ErrNotDurable = errors.New("the new file may not outlast a crash")

func createFileAt(
	dir *os.File, name string, perm fs.FileMode, replace bool,
	write func(io.Writer) error, syncDir func(*os.File) error,
) (*os.File, error) {
	temporary := temporaryPrefix + rand.Text() + temporarySuffix
	f, err := writeTemporary(dir, temporary, name, perm, write)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", name, err)
	}
	if err := Rename(dir, temporary, name, replace); err != nil {
		return nil, errors.Join(err, f.Close(), unlink(dir, temporary))
	}
	if err := syncDir(dir); err != nil {
		return f, fmt.Errorf("%w: %w", ErrNotDurable, err)
	}
	return f, nil
}

// writeTemporary makes a durable file under a temporary name, or none. It is open as the file that
// it will be.
func writeTemporary(
	dir *os.File, temporary, name string, perm fs.FileMode, write func(io.Writer) error,
) (*os.File, error) {
	flags := unix.O_RDWR | unix.O_CREAT | unix.O_EXCL | unix.O_CLOEXEC
	fd, err := unix.Openat(int(dir.Fd()), temporary, flags, uint32(perm.Perm()))
	if err != nil {
		return nil, &fs.PathError{Op: "create", Path: temporary, Err: err}
	}
	f := os.NewFile(uintptr(fd), filepath.Join(dir.Name(), name))
	if err = write(f); err == nil {
		err = f.Sync()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), unlink(dir, temporary))
	}
	return f, nil
}

func unlink(dir *os.File, name string) error {
	if err := unix.Unlinkat(int(dir.Fd()), name, 0); err != nil {
		return &fs.PathError{Op: "remove", Path: name, Err: err}
	}
	return nil
}

// Rename gives the file from, in an open folder, the name to in the same folder. Unless replace is
// set, a file that has the name already stays, and the error wraps fs.ErrExist. The new name is
// durable once the folder is synced.
func Rename(dir *os.File, from, to string, replace bool) error {
	at := int(dir.Fd())
	var err error
	if replace {
		err = unix.Renameat(at, from, at, to)
	} else {
		err = renameNoReplace(at, from, to, unix.Renameat2)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

// renameNoReplace renames by renameat2(2), which not every file system has flags for, NFS for one;
// there the file gets a second name and loses its first one.
func renameNoReplace(at int, from, to string, renameat2 func(int, string, int, string, uint) error) error {
	err := renameat2(at, from, at, to, unix.RENAME_NOREPLACE)
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	if err := unix.Linkat(at, from, at, to, 0); err != nil {
		return err
	}
	return unix.Unlinkat(at, from, 0)
}

// SyncDir makes the names in a folder durable.
func SyncDir(path string) error {
	dir, err := openDir(path)
	if err != nil {
		return err
	}
	return errors.Join(SyncOpenDir(dir), dir.Close())
}

func openDir(path string) (*os.File, error) {
	dir, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("open folder: %w", err)
	}
	return dir, nil
}

// SyncOpenDir is SyncDir for an open folder. It ignores EINVAL, by which a file system says that
// its folders are not synced at all (fsync(2)).
func SyncOpenDir(dir *os.File) error {
	if err := dir.Sync(); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}

// RemoveTemporary removes the temporary files that crashes have left in a folder. It is for folders
// that one process owns: it also takes the files that another is just writing.
func RemoveTemporary(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return fmt.Errorf("read folder: %w", err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), temporaryPrefix) || !strings.HasSuffix(e.Name(), temporarySuffix) {
			continue
		}
		if err := os.Remove(filepath.Join(path, e.Name())); err != nil {
			return fmt.Errorf("remove temporary file: %w", err)
		}
	}
	return nil
}
