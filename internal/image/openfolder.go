package image

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// folder is an open folder below a root. It opens files relative to itself, not by path, so no
// change to the path, or to a name in the folder, leads to another place.
type folder struct {
	*os.Root          // Lstat and Remove do not follow links
	dir      *os.File // the same folder, for calls that os.Root lacks
}

// openFolder opens a folder that Check returned.
func (r Roots) openFolder(resolved string) (*folder, error) {
	dir, err := r.open(resolved, os.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(procPath(dir)) // the open folder, even if its path leads elsewhere now
	if err != nil {
		return nil, errors.Join(fileError("open "+resolved, err), dir.Close())
	}
	return &folder{Root: root, dir: dir}, nil
}

// open opens or creates a file. It follows no link. os.Root would follow one to another file of the
// folder, whatever the flags, and that file would not be this job's. open never waits, not even for
// a pipe.
func (d *folder) open(name string, flags int) (*os.File, error) {
	flags |= unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	fd, err := unix.Openat(int(d.dir.Fd()), name, flags, 0o666) // the user's umask decides, as with cp
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), filepath.Join(d.dir.Name(), name)), nil
}

// Close closes the folder.
func (d *folder) Close() error { return errors.Join(d.Root.Close(), d.dir.Close()) }
