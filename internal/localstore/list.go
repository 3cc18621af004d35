package localstore

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/transfer"
)

// Summary is the state of a job in its folder.
type Summary struct {
	ID       string
	Dir      string // the folder
	Plan     transfer.Plan
	Progress transfer.Progress
	Running  bool // a process runs the job
}

// List returns the jobs that have folders in dir: those that run, and those that stopped or failed
// and can be resumed.
func List(dir string) ([]Summary, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, failed("list job folders", err)
	}
	var list []Summary
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name(), "state.json"))
		if errors.Is(err, fs.ErrNotExist) {
			continue // the job is starting or ending
		}
		if err != nil {
			return nil, failed("read job folder", err)
		}
		var s state
		if err := json.Unmarshal(text, &s); err != nil {
			continue // resuming the job reports it
		}
		list = append(list, Summary{
			ID: s.ID, Dir: filepath.Join(dir, e.Name()), Plan: s.Plan, Progress: s.Progress,
			Running: isLocked(filepath.Join(dir, e.Name()+".lock")),
		})
	}
	return list, nil
}

// isLocked reports whether a process holds a lock of a file.
func isLocked(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// InUse reports whether a job without a queue, of this user on this host, reads or writes a drive.
// dir is as for Open.
func InUse(dir string, c transfer.Claim) (bool, error) {
	f, err := os.Open(dir + ".lock")
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, failed("open drive locks", err)
	}
	defer f.Close()
	for _, key := range c.Keys() {
		lock := lockOf(key, unix.F_WRLCK) // conflicts with locks for reading and for writing
		if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lock); err != nil {
			return false, failed("read drive locks", err)
		}
		if lock.Type != unix.F_UNLCK {
			return true, nil
		}
	}
	return false, nil
}
