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

// fileTTL is how long the file of an ended process is kept: longer than jobs stay unfinished.
const fileTTL = 90 * 24 * time.Hour

// Life proves to other processes on this host that a process has ended: the process locks a file
// (flock(2)) until it ends. It opens the file before its first connection. When a process ends, the
// kernel closes its descriptors in reverse order of opening (task_work_add runs last in, first
// out), so the connections end before the lock.
type Life struct {
	dir, boot string
	file      *os.File
}

// OpenLife creates and locks the file of this process. name must be unique among all processes,
// past ones included. The processes that prove their end to each other share dir.
func OpenLife(dir, name string) (*Life, error) {
	boot, err := os.ReadFile(bootIDFile)
	if err != nil {
		return nil, fmt.Errorf("read boot ID: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make folder of locks: %w", err)
	}
	l := &Life{dir: dir, boot: strings.TrimSpace(string(boot))}
	if l.file, err = os.OpenFile(l.path(name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return nil, fmt.Errorf("make lock: %w", err)
	}
	if err := unix.Flock(int(l.file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", l.file.Name(), err), l.file.Close())
	}
	return l, l.removeOldFiles()
}

// path is the file of a process. The name may come from a queue, so it is hashed and not used as a
// file name.
func (l *Life) path(name string) string {
	sum := sha256.Sum256([]byte(name))
	return filepath.Join(l.dir, hex.EncodeToString(sum[:16])+".lock")
}

// removeOldFiles removes the files of processes that ended long ago.
func (l *Life) removeOldFiles() error {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && time.Since(info.ModTime()) > fileTTL && free(filepath.Join(l.dir, e.Name())) {
			err = os.Remove(filepath.Join(l.dir, e.Name()))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Boot is the ID of this boot of this host; "" for a nil Life.
func (l *Life) Boot() string {
	if l == nil {
		return ""
	}
	return l.boot
}

// Ended reports whether it is proven that the process of that name, which ran in the given boot,
// has ended. False proves nothing. A nil Life always returns false.
func (l *Life) Ended(boot, name string) bool {
	return l != nil && boot != "" && boot == l.boot && free(l.path(name))
}

// free reports whether a lock's file exists and no process holds the lock.
func free(path string) bool {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer f.Close() // releases the lock
	return unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil
}

// Close unlocks the file and keeps it: the unlocked file proves that the process has ended.
func (l *Life) Close() error {
	if l == nil {
		return nil
	}
	return l.file.Close()
}
