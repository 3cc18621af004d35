// Package journal keeps on disk what a job run without a queue must remember, so that the same command resumes where an
// earlier one was cut off.
//
// A job's folder holds state.json, replaced as a whole, and ledger, which only grows: packed entries, synced before Save
// returns.
package journal

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/verify"
)

// Journal is the memory of one job. It is used by one goroutine at a time.
type Journal struct {
	dir    string
	key    string
	lock   *os.File
	ledger *os.File
	drives *os.File // with the locks of drives; nil: none
	state  state
}

var (
	_ transfer.Store   = (*Journal)(nil)
	_ transfer.Claimer = (*Journal)(nil)
)

type state struct {
	Spec     transfer.Spec     `json:"spec"`
	Plan     transfer.Plan     `json:"plan"`
	Progress transfer.Progress `json:"progress"`
	Attempts int               `json:"attempts"`
}

// Open takes up the journal of the job that spec describes, or begins it, in a folder of its own under dir. Two jobs are
// the same if their specs are. It fails with CodeConflict while another process runs that job.
func Open(dir string, spec *transfer.Spec) (*Journal, error) {
	key, err := spec.Fingerprint()
	if err != nil {
		return nil, err
	}
	j := &Journal{key: key, state: state{Spec: *spec}}
	j.dir = filepath.Join(dir, j.key)
	if err := os.MkdirAll(j.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make journal folder: %w", err)
	}
	if err := j.takeLock(); err != nil {
		return nil, err
	}
	if err := j.begin(); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

// takeLock locks a file beside the folder, not in it, so that Remove does not take the lock away.
func (j *Journal) takeLock() error {
	for {
		f, err := os.OpenFile(j.dir+".lock", os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return fmt.Errorf("open journal lock: %w", err)
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err != nil {
			err = transfer.Errorf(transfer.CodeConflict, "wait for it to end, or stop it", "the same job is running in another process")
			return errors.Join(err, f.Close())
		}
		// The file may have been removed by its last holder between our opening and locking it.
		held, err := f.Stat()
		if err != nil {
			return errors.Join(fmt.Errorf("look at journal lock: %w", err), f.Close())
		}
		if named, err := os.Stat(f.Name()); err == nil && os.SameFile(held, named) {
			j.lock = f
			return nil
		}
		if err := f.Close(); err != nil {
			return fmt.Errorf("close journal lock: %w", err)
		}
	}
}

func (j *Journal) begin() (err error) {
	text, err := os.ReadFile(j.path("state.json"))
	if err == nil {
		err = json.Unmarshal(text, &j.state)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read journal (remove %s to start over): %w", j.dir, err)
	}
	j.ledger, err = os.OpenFile(j.path("ledger"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open ledger: %w", err)
	}
	info, err := j.ledger.Stat()
	if err != nil {
		return fmt.Errorf("look at ledger: %w", err)
	}
	// What a crash left of an entry would put all that follow out of step.
	if err := j.ledger.Truncate(info.Size() / transfer.EntrySize * transfer.EntrySize); err != nil {
		return fmt.Errorf("trim ledger: %w", err)
	}
	j.state.Attempts++
	return j.writeState()
}

func (j *Journal) path(name string) string { return filepath.Join(j.dir, name) }

// ID names the job: the same for the same spec.
func (j *Journal) ID() string { return "local-" + j.key }

// Attempt is how often the job was taken up, this time included.
func (j *Journal) Attempt() int { return j.state.Attempts }

// Load implements transfer.Store.
func (j *Journal) Load(context.Context) (transfer.Checkpoint, error) {
	packed, err := os.ReadFile(j.path("ledger"))
	if err != nil {
		return transfer.Checkpoint{}, fmt.Errorf("read ledger: %w", err)
	}
	return transfer.Checkpoint{Plan: j.state.Plan, Progress: j.state.Progress, Entries: transfer.ParseEntries(packed)}, nil
}

// Save implements transfer.Store. The plan is written before the entries that rely on it.
func (j *Journal) Save(_ context.Context, c *transfer.Checkpoint) error {
	j.state.Plan, j.state.Progress = c.Plan, c.Progress
	if c.Reset {
		if err := j.ledger.Truncate(0); err != nil {
			return fmt.Errorf("empty ledger: %w", err)
		}
	}
	if err := j.writeState(); err != nil {
		return err
	}
	if len(c.Entries) == 0 {
		return nil
	}
	_, err := j.ledger.Write(transfer.AppendEntries(nil, c.Entries))
	if err := errors.Join(err, j.ledger.Sync()); err != nil {
		return fmt.Errorf("write ledger: %w", err)
	}
	return nil
}

func (j *Journal) writeState() error {
	text, err := json.Marshal(j.state)
	if err != nil {
		return fmt.Errorf("encode journal: %w", err)
	}
	tmp := j.path("state.json.tmp")
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	if err := os.Rename(tmp, j.path("state.json")); err != nil {
		return fmt.Errorf("put journal in place: %w", err)
	}
	return verify.SyncDir(j.dir)
}

// Claim implements transfer.Claimer, among the jobs that this user runs without a queue on this host. A drive is a byte of
// one file, at its hash, which the open file locks (fcntl(2), open file description locks), so that nothing stays behind.
func (j *Journal) Claim(_ context.Context, c transfer.Claim) error {
	if j.drives == nil {
		f, err := os.OpenFile(filepath.Dir(j.dir)+".lock", os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return fmt.Errorf("open drive locks: %w", err)
		}
		j.drives = f
	}
	sum := sha256.Sum256([]byte(c.Endpoint + ":" + c.Drive))
	lock := unix.Flock_t{Type: unix.F_RDLCK, Start: int64(binary.LittleEndian.Uint64(sum[:]) >> 2), Len: 1}
	if c.Write {
		lock.Type = unix.F_WRLCK
	}
	err := unix.FcntlFlock(j.drives.Fd(), unix.F_OFD_SETLK, &lock)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return transfer.Errorf(transfer.CodeConflict, "wait for it to end, or stop it", "another process works on drive %s", c.Drive)
	}
	if err != nil {
		return fmt.Errorf("lock drive: %w", err)
	}
	return nil
}

// Resumable reports whether anything was done that another attempt could build on.
func (j *Journal) Resumable() bool {
	info, err := j.ledger.Stat()
	return j.state.Plan.Drive != "" || (err == nil && info.Size() > 0)
}

// Remove forgets the job.
func (j *Journal) Remove() error {
	if err := os.RemoveAll(j.dir); err != nil {
		return fmt.Errorf("remove journal: %w", err)
	}
	return nil
}

// Close gives the job free for other processes.
func (j *Journal) Close() error {
	var err error
	if j.ledger != nil {
		err = j.ledger.Close()
	}
	if j.drives != nil {
		err = errors.Join(err, j.drives.Close())
	}
	return errors.Join(err, os.Remove(j.lock.Name()), j.lock.Close())
}
