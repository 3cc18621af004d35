package fsx

import (
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Rename renames a file from from to to within an open folder. Unless replace is set, Rename does
// not replace an existing file, and its error wraps fs.ErrExist. The new name is durable once the
// folder is synced.
//
// Without replace, Rename calls renameat2(2). Where the file system does not support its flags
// (NFS, most of FUSE), Rename makes a hard link with the new name and removes the old name. Where
// there are no hard links either, it reserves the new name with a placeholder file and replaces
// that. A placeholder may stay after a crash; the next Rename to the name replaces it.
func (s *System) Rename(dir *os.File, from, to string, replace bool) error {
	at := int(dir.Fd())
	var err error
	if replace {
		err = unix.Renameat(at, from, at, to)
	} else {
		err = s.renameNoReplace(at, from, to)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

func (s *System) renameNoReplace(at int, from, to string) error {
	err := s.Renameat2(at, from, at, to, unix.RENAME_NOREPLACE)
	if !Unsupported(err) {
		return err
	}
	err = s.Linkat(at, from, at, to, 0)
	switch {
	case err == nil:
		return unix.Unlinkat(at, from, 0)
	case !Unsupported(err) && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EMLINK):
		return err
	}
	return renameOverPlaceholder(at, from, to)
}

// renameOverPlaceholder reserves the name to with a placeholder, made with O_EXCL, and renames from
// to it. The process holds a lock on its placeholder, so an unlocked one is left from a crash. Data
// that another program writes into the placeholder is lost.
func renameOverPlaceholder(at int, from, to string) error {
	f, err := openPlaceholder(at, to)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return unix.EEXIST
	}
	if !isPlaceholder(at, to) {
		return unix.EEXIST
	}
	if err := unix.Renameat(at, from, at, to); err != nil {
		return errors.Join(err, unix.Unlinkat(at, to, 0))
	}
	return nil
}

// placeholder is the content of a file that reserves a name.
const placeholder = "transferd keeps this name for a file that is about to have it\n"

// openPlaceholder makes a placeholder, or opens an existing one.
func openPlaceholder(at int, to string) (*os.File, error) {
	fd, err := unix.Openat(at, to, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
	switch {
	case errors.Is(err, unix.EEXIST) && isPlaceholder(at, to):
		fd, err = unix.Openat(at, to, unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, unix.EEXIST
		}
		return os.NewFile(uintptr(fd), to), nil
	case err != nil:
		return nil, err
	}
	f := os.NewFile(uintptr(fd), to)
	if _, err := f.WriteString(placeholder); err != nil {
		return nil, errors.Join(err, f.Close(), unix.Unlinkat(at, to, 0))
	}
	return f, nil
}

func isPlaceholder(at int, name string) bool {
	fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, int64(len(placeholder))+1))
	return err == nil && string(text) == placeholder
}

// IsPlaceholder reports whether a file in an open folder is a placeholder of Rename, left from a
// crash.
func IsPlaceholder(dir *os.File, name string) bool { return isPlaceholder(int(dir.Fd()), name) }

// CreateTemporary creates a file with a temporary name in an open folder and opens it for reading
// and writing. perm are its permissions before the umask.
func CreateTemporary(dir *os.File, perm fs.FileMode) (f *os.File, name string, err error) {
	name = temporaryPrefix + rand.Text() + temporarySuffix
	f, err = openTemporary(dir, name, perm, name)
	return f, name, err
}

// openTemporary creates a file; label is the name of the *os.File, for messages.
func openTemporary(dir *os.File, name string, perm fs.FileMode, label string) (*os.File, error) {
	flags := unix.O_RDWR | unix.O_CREAT | unix.O_EXCL | unix.O_CLOEXEC
	fd, err := unix.Openat(int(dir.Fd()), name, flags, uint32(perm.Perm()))
	if err != nil {
		return nil, &fs.PathError{Op: "create", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), filepath.Join(dir.Name(), label)), nil
}
