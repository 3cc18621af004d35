// Package fsx writes files that appear atomically. It writes a file under a temporary name, syncs
// it, renames it and syncs the folder. So a reader finds the whole new file or the old one, also
// after a crash.
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

// The names of temporary files. They do not contain the file's own name, which may already have the
// greatest length.
const (
	temporaryPrefix = ".transferd-"
	temporarySuffix = ".tmp"
)

// WriteFile durably writes the file at path; its content is what write writes. perm are its
// permissions before the umask. Unless replace is set, WriteFile does not replace an existing file,
// and its error wraps fs.ErrExist.
//
// An error leaves path unchanged, and no temporary file, with one exception: if only the sync of
// the folder fails, the new file is in place, but may be missing after a crash. That error wraps
// ErrNotDurable.
func WriteFile(path string, perm fs.FileMode, replace bool, write func(io.Writer) error) error {
	return closed(CreateFile(path, perm, replace, write))
}

// WriteFileAt is WriteFile for a name in an open folder, even if the folder was renamed.
func (s *System) WriteFileAt(
	dir *os.File, name string, perm fs.FileMode, replace bool, write func(io.Writer) error,
) error {
	return closed(s.createFileAt(dir, name, perm, replace, write))
}

// CreateFile is WriteFile and returns the file, open for reading and writing. It returns the file
// with ErrNotDurable, too, because the file is in place then.
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

// ErrNotDurable reports a new file in a folder that could not be synced.
var ErrNotDurable = errors.New("the new file may be lost in a crash")

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

// writeTemporary writes and syncs a file under a temporary name; after an error there is none. The
// *os.File has the final name.
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

// SyncDir makes the entries of a folder durable.
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

// RemoveTemporary removes the temporary files that crashes have left in a folder. One process must
// own the folder, because RemoveTemporary also removes files that another process is writing.
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
