package localstore

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/transfer"
)

// Claim implements transfer.Claimer for the jobs that this user runs without a queue on this host.
// Each key of a claim is one byte of a shared file, at the key's hash. The claim locks that byte
// (fcntl(2), open file description locks).
func (s *Store) Claim(_ context.Context, c transfer.Claim) (last string, err error) {
	if s.drives == nil {
		f, err := os.OpenFile(filepath.Dir(s.dir)+".lock", os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return "", failed("open drive locks", err)
		}
		s.drives, s.locked = f, make(map[string]bool)
	}
	how := int16(unix.F_RDLCK)
	if c.Writes() {
		how = unix.F_WRLCK
	}
	// All keys or none: two jobs that use different keys must not wait for each other.
	for i, key := range c.Keys() {
		if err := s.lockDrive(key, how); err != nil {
			return "", errors.Join(notLocked(c.Drive, err), s.unlockDrives(c.Keys()[:i]))
		}
	}
	for _, key := range c.Keys() {
		s.locked[key] = true
	}
	return s.mark(c)
}

// lockDrive locks or unlocks the byte of one of a claim's keys.
func (s *Store) lockDrive(key string, how int16) error {
	lock := lockOf(key, how)
	return unix.FcntlFlock(s.drives.Fd(), unix.F_OFD_SETLK, &lock)
}

func lockOf(key string, how int16) unix.Flock_t {
	sum := sha256.Sum256([]byte(key))
	return unix.Flock_t{Type: how, Start: int64(binary.LittleEndian.Uint64(sum[:]) >> 2), Len: 1}
}

func notLocked(drive string, err error) error {
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return transfer.Errorf(transfer.CodeConflict, "wait for it to end, or stop it",
			"another process works on drive %s", drive)
	}
	return failed("lock drive", err)
}

// unlockDrives undoes the locks of a claim that failed. Locks of earlier claims stay.
func (s *Store) unlockDrives(keys []string) (err error) {
	for _, key := range keys {
		if !s.locked[key] {
			err = errors.Join(err, failed("unlock drive", s.lockDrive(key, unix.F_UNLCK)))
		}
	}
	return err
}

// markTTL is how long the mark of a drive's last writer is kept: longer than jobs stay unfinished.
const markTTL = 90 * 24 * time.Hour

// mark stores the mark of a drive that is written, in one file for each key, and returns the
// previous one.
func (s *Store) mark(c transfer.Claim) (last string, err error) {
	dir := filepath.Dir(s.dir) + ".marks"
	var files, marks []string
	for _, key := range c.Keys() {
		sum := sha256.Sum256([]byte(key))
		file := filepath.Join(dir, hex.EncodeToString(sum[:]))
		text, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", failed("read a drive's mark", err)
		}
		files, marks = append(files, file), append(marks, string(text))
	}
	last = transfer.JoinMarks(marks...)
	if !c.Writes() {
		return last, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", failed("make folder of marks", err)
	}
	if err := removeOldMarks(dir); err != nil {
		return "", failed("remove old marks", err)
	}
	for _, file := range files {
		if err := replaceFile(file, []byte(c.Mark)); err != nil {
			return "", failed("mark drive", err)
		}
	}
	return last, nil
}

func removeOldMarks(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && time.Since(info.ModTime()) > markTTL {
			err = os.Remove(filepath.Join(dir, e.Name()))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
