package lease

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// bootIDFile is the kernel's name for this boot of this host (random(4)).
const bootIDFile = "/proc/sys/kernel/random/boot_id"

// kept is for how long the file of a process that has ended is kept: longer than jobs are left
// unfinished.
const kept = 90 * 24 * time.Hour

// Life proves to other processes on this host that a process has ended: a file that it keeps locked
// (flock(2)) for as long as it lives. It is opened before the first connection: the kernel closes
// the descriptors of a process that ends within the same call, those that were opened last first
// (task_work_add runs last in, first out).
type Life struct {
	dir, boot string
	file      *os.File
}

// OpenLife begins the life of the process of that name, which is no other's at any time, in a
// folder that all processes share which are to prove something to each other.
func OpenLife(dir, name string) (*Life, error) {
	boot, err := os.ReadFile(bootIDFile)
	if err != nil {
		return nil, fmt.Errorf("read boot ID: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil { //nolint:gosec // where the state folder is, is the user's to say
		return nil, fmt.Errorf("make folder of locks: %w", err)
	}
	l := &Life{dir: dir, boot: strings.TrimSpace(string(boot))}
	if l.file, err = os.OpenFile(l.path(name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return nil, fmt.Errorf("make lock: %w", err)
	}
	if err := unix.Flock(int(l.file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", l.file.Name(), err), l.file.Close())
	}
	return l, l.tidy()
}

// path is the file of a process. Its name may come from a queue, so it names no file by itself.
func (l *Life) path(name string) string {
	sum := sha256.Sum256([]byte(name))
	return filepath.Join(l.dir, hex.EncodeToString(sum[:16])+".lock")
}

// tidy removes files that prove nothing any more.
func (l *Life) tidy() error {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && time.Since(info.ModTime()) > kept && free(filepath.Join(l.dir, e.Name())) {
			err = os.Remove(filepath.Join(l.dir, e.Name()))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Boot is this boot of this host; "" of a nil Life.
func (l *Life) Boot() string {
	if l == nil {
		return ""
	}
	return l.boot
}

// Ended reports whether it is proven that the process of that name, which ran in the given boot,
// has ended. False proves nothing. A nil Life proves nothing.
func (l *Life) Ended(boot, name string) bool {
	return l != nil && boot != "" && boot == l.boot && free(l.path(name))
}

// free reports whether a lock's file is there and nobody holds the lock.
func free(path string) bool {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer f.Close() // and with it the lock
	return unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil
}

// Close ends the life. The file stays, for it proves to others that the process has ended.
func (l *Life) Close() error {
	if l == nil {
		return nil
	}
	return l.file.Close()
}
