package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// temporary starts the names of files that a crash may leave behind; they are removed at the next
// start.
const temporary = ".tmp-"

// replaceFile puts data under path so that a crash leaves either the old content or the new, and
// makes it last.
func replaceFile(path string, data []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, temporary)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already if all went well
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes the names in dir last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, unix.EINVAL) { // EINVAL: this file system syncs no folders
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}

// makeSparse creates path as a hole of size bytes.
func makeSparse(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err = f.Truncate(size); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = os.Remove(path)
	}
	return err
}

// resize makes the file at path size bytes long. What it was longer than from before a growth
// cannot show up again: growing cuts at the old size first.
func resize(path string, from, size int64) error {
	if size > from {
		if err := os.Truncate(path, from); err != nil {
			return err
		}
	}
	return os.Truncate(path, size)
}
