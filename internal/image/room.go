package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Room describes where a file could be made.
type Room struct {
	Exists bool   // there is a file of that name
	Free   int64  // bytes on its file system that this user may use
	Disk   string // identifies the file system on this host
}

// Room looks whether a file can be made at path, and makes nothing. CodeForbidden: its folder is
// outside of the roots, or not writable. CodeNotFound: there is no such folder.
func (r Roots) Room(path string) (room Room, err error) {
	resolved, err := r.Check(path)
	if err != nil {
		return room, err
	}
	op := "create " + path
	info, err := os.Stat(resolved)
	switch {
	case err == nil && info.IsDir():
		return room, invalid(op, "write the path of a file, or a slash after that of a folder", "it is a folder")
	case err == nil:
		room.Exists = true
	case !errors.Is(err, fs.ErrNotExist):
		return room, fileError(op, err)
	}
	dir := filepath.Dir(resolved)
	var st unix.Stat_t
	var disk unix.Statfs_t
	for _, call := range []func() error{
		func() error { return unix.Stat(dir, &st) },
		func() error { return unix.Statfs(dir, &disk) },
		func() error { return unix.Access(dir, unix.W_OK|unix.X_OK) },
	} {
		if err := call(); err != nil {
			return room, fileError(op, err)
		}
	}
	room.Free = int64(disk.Bavail) * disk.Bsize
	room.Disk = fmt.Sprint(st.Dev)
	return room, nil
}
