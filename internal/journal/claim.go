package journal

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

// Claim implements transfer.Claimer, among the jobs that this user runs without a queue on this host. A drive is a byte of
// one file, at its hash, which the open file locks (fcntl(2), open file description locks).
func (j *Journal) Claim(_ context.Context, c transfer.Claim) (last string, err error) {
	if j.drives == nil {
		f, err := os.OpenFile(filepath.Dir(j.dir)+".lock", os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return "", failed("open drive locks", err)
		}
		j.drives = f
	}
	sum := sha256.Sum256([]byte(c.Endpoint + ":" + c.Drive))
	lock := unix.Flock_t{Type: unix.F_RDLCK, Start: int64(binary.LittleEndian.Uint64(sum[:]) >> 2), Len: 1}
	if c.Writes() {
		lock.Type = unix.F_WRLCK
	}
	err = unix.FcntlFlock(j.drives.Fd(), unix.F_OFD_SETLK, &lock)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return "", transfer.Errorf(transfer.CodeConflict, "wait for it to end, or stop it", "another process works on drive %s", c.Drive)
	}
	if err != nil {
		return "", failed("lock drive", err)
	}
	return j.mark(hex.EncodeToString(sum[:]), c)
}

// remembered is for how long it is known who wrote a drive last: longer than jobs are left unfinished.
const remembered = 90 * 24 * time.Hour

// mark keeps the marks of drives that were written, each in a file of its own, and returns the last one of this drive.
func (j *Journal) mark(drive string, c transfer.Claim) (last string, err error) {
	dir := filepath.Dir(j.dir) + ".marks"
	text, err := os.ReadFile(filepath.Join(dir, drive))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", failed("read a drive's mark", err)
	}
	if !c.Writes() {
		return string(text), nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", failed("make folder of marks", err)
	}
	if err := forgetOld(dir); err != nil {
		return "", failed("remove old marks", err)
	}
	if err := replaceFile(filepath.Join(dir, drive), []byte(c.Mark)); err != nil {
		return "", failed("mark drive", err)
	}
	return string(text), nil
}

func forgetOld(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && time.Since(info.ModTime()) > remembered {
			err = os.Remove(filepath.Join(dir, e.Name()))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
