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
func (s *System) WriteFileAt(
	dir *os.File, name string, perm fs.FileMode, replace bool, write func(io.Writer) error,
) error {
	return closed(s.createFileAt(dir, name, perm, replace, write))
}

// CreateFile is WriteFile, and returns the file, open for reading and writing, unless it is not in
// place: it does so with ErrNotDurable, too.
func CreateFile(path string, perm fs.FileMode, replace bool, write func(io.Writer) error) (*os.File, error) {
	dir, err := openDir(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	f, err := Kernel().createFileAt(dir, filepath.Base(path), perm, replace, write)
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

func (s *System) createFileAt(
	dir *os.File, name string, perm fs.FileMode, replace bool, write func(io.Writer) error,
) (*os.File, error) {
	temporary := temporaryPrefix + rand.Text() + temporarySuffix
	f, err := s.writeTemporary(dir, temporary, name, perm, write)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", name, err)
	}
	if err := s.Rename(dir, temporary, name, replace); err != nil {
		return nil, errors.Join(err, f.Close(), unlink(dir, temporary))
	}
	if err := s.SyncDir(dir); err != nil {
		return f, fmt.Errorf("%w: %w", ErrNotDurable, err)
	}
	return f, nil
}

// writeTemporary makes a durable file under a temporary name, or none. It is open as the file that
// it will be.
func (s *System) writeTemporary(
	dir *os.File, temporary, name string, perm fs.FileMode, write func(io.Writer) error,
) (*os.File, error) {
	f, err := openTemporary(dir, temporary, perm, name)
	if err != nil {
		return nil, err
	}
	if err = write(f); err == nil {
		err = s.Sync(f)
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

// SyncDir makes the names in a folder durable.
func SyncDir(path string) error {
	dir, err := openDir(path)
	if err != nil {
		return err
	}
	return errors.Join(Kernel().SyncDir(dir), dir.Close())
}

func openDir(path string) (*os.File, error) {
	dir, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("open folder: %w", err)
	}
	return dir, nil
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
