// Package localstore is the store of a job that runs without a queue: it keeps the job's checkpoint
// on disk, so that the same command resumes after an interruption.
//
// A job's folder holds state.json, replaced as a whole, and ledger, which only grows: packed entries, synced before Save
// returns unless another one follows soon.
package localstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/rs/xid"
	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/fsx"
	"github.com/transferd/transferd/internal/transfer"
)

// Store is the store of one job. One goroutine at a time calls its methods, except Claim, which may
// run while Save does.
type Store struct {
	dir    string
	lock   *os.File
	ledger *os.File
	drives *os.File        // with the locks of drives; nil: none
	locked map[string]bool // the keys of claims that drives has locks for
	state  state
	// unsynced says that the ledger has entries which a crash of the host may lose.
	unsynced bool
}

var (
	_ transfer.Store   = (*Store)(nil)
	_ transfer.Claimer = (*Store)(nil)
)

type state struct {
	ID       string            `json:"id"`
	Plan     transfer.Plan     `json:"plan"`
	Progress transfer.Progress `json:"progress"`
	Attempts int               `json:"attempts"`
	Reset    bool              `json:"reset,omitempty"` // the ledger is to be emptied
}

// Open takes up the journal of the job that spec describes, or begins it, in a folder of its own under dir. Two jobs are
// the same if their specs are. It fails with CodeConflict while another process runs that job.
func Open(dir string, spec *transfer.Spec) (*Store, error) {
	key, err := spec.Fingerprint()
	if err != nil {
		return nil, err
	}
	// The same command once more, when this job has ended, is another job: it must not take this one's drive for its own.
	j := &Store{dir: filepath.Join(dir, key), state: state{ID: newID()}}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, failed("make journal folder", err)
	}
	if err := j.takeLock(); err != nil {
		return nil, err
	}
	if err := j.begin(); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

func newID() string { return "local-" + xid.New().String() }

// takeLock locks a file beside the folder, not in it, so that Remove does not take the lock away.
func (j *Store) takeLock() error {
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

func (j *Store) begin() error {
	if err := os.MkdirAll(j.dir, 0o700); err != nil {
		return failed("make journal folder", err)
	}
	if err := fsx.RemoveTemporary(j.dir); err != nil {
		return failed("tidy journal folder", err)
	}
	text, err := os.ReadFile(j.path("state.json"))
	if err == nil {
		err = json.Unmarshal(text, &j.state)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read journal (remove %s to start over): %w", j.dir, err)
	}
	j.ledger, err = os.OpenFile(j.path("ledger"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return failed("open ledger", err)
	}
	if err := j.trim(); err != nil {
		return err
	}
	j.state.Attempts++
	return j.writeState()
}

// trim leaves whole entries in the ledger: what a crash or a full disk left of one would put all that follow out of step.
func (j *Store) trim() error {
	info, err := j.ledger.Stat()
	if err != nil {
		return failed("look at ledger", err)
	}
	size := info.Size() / transfer.EntrySize * transfer.EntrySize
	if j.state.Reset {
		size = 0
	}
	if err := j.ledger.Truncate(size); err != nil {
		return failed("trim ledger", err)
	}
	j.state.Reset = false
	return nil
}

// failed says what of the state folder does not work. Nothing of it passes by waiting.
func failed(op string, err error) error {
	if err == nil {
		return nil
	}
	e := &transfer.Error{Op: op, Code: transfer.CodeFailed, Hint: "the state folder (state: in the config) has to be there, and writable", Err: err}
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		e.Code, e.Hint = transfer.CodeNoSpace, "make room where the state folder is (state: in the config)"
	}
	return e
}

func (j *Store) path(name string) string { return filepath.Join(j.dir, name) }

// ID names the job, and no other, also none of the same spec.
func (j *Store) ID() string { return j.state.ID }

// Attempt is how often the job was taken up, this time included.
func (j *Store) Attempt() int { return j.state.Attempts }

// Load implements transfer.Store.
func (j *Store) Load(context.Context) (transfer.Checkpoint, error) {
	packed, err := os.ReadFile(j.path("ledger"))
	if err != nil {
		return transfer.Checkpoint{}, failed("read ledger", err)
	}
	return transfer.Checkpoint{Plan: j.state.Plan, Progress: j.state.Progress, Entries: transfer.ParseEntries(packed)}, nil
}

// Save implements transfer.Store. It writes the plan before it adds the entries that depend on the
// plan, and before it removes entries of an earlier plan. If another Save follows soon, it does not
// sync the entries.
func (j *Store) Save(_ context.Context, c *transfer.Checkpoint) error {
	if c.Interim && !c.Reset && c.Plan == j.state.Plan {
		return j.append(c.Entries)
	}
	j.state.Plan, j.state.Progress, j.state.Reset = c.Plan, c.Progress, c.Reset
	if err := j.writeState(); err != nil {
		return err
	}
	if c.Reset {
		if err := errors.Join(j.trim(), j.writeState()); err != nil {
			return err
		}
	}
	if err := j.append(c.Entries); err != nil || !j.unsynced {
		return err
	}
	if err := j.ledger.Sync(); err != nil {
		return errors.Join(failed("write ledger", err), j.trim())
	}
	j.unsynced = false
	return nil
}

func (j *Store) append(entries []transfer.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	j.unsynced = true
	if _, err := j.ledger.Write(transfer.AppendEntries(nil, entries)); err != nil {
		return errors.Join(failed("write ledger", err), j.trim())
	}
	return nil
}

func (j *Store) writeState() error {
	text, err := json.Marshal(j.state)
	if err != nil {
		return fmt.Errorf("encode journal: %w", err)
	}
	return failed("write journal", replaceFile(j.path("state.json"), text))
}

func replaceFile(path string, text []byte) error {
	return fsx.WriteFile(path, 0o600, true, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}

// Resumable reports whether anything was done that another attempt could build on.
func (j *Store) Resumable() bool {
	info, err := j.ledger.Stat()
	return j.state.Plan.DriveRequested || j.state.Plan.Drive != "" || (err == nil && info.Size() > 0)
}

// Finished reports whether an earlier attempt had completed the target.
func (j *Store) Finished() bool { return j.state.Plan.Finished }

// Restart drops what earlier attempts did. This attempt becomes the first one: of the same job with
// sameID, else of a new job.
func (j *Store) Restart(sameID bool) error {
	if j.state.Attempts = 1; !sameID {
		j.state.ID = newID()
	}
	return j.Save(context.Background(), &transfer.Checkpoint{Reset: true})
}

// Remove forgets the job.
func (j *Store) Remove() error {
	if err := os.RemoveAll(j.dir); err != nil {
		return fmt.Errorf("remove journal: %w", err)
	}
	return nil
}

// Close gives the job free for other processes.
func (j *Store) Close() error {
	var err error
	if j.ledger != nil {
		err = j.ledger.Close()
	}
	if j.drives != nil {
		err = errors.Join(err, j.drives.Close())
	}
	return errors.Join(err, os.Remove(j.lock.Name()), j.lock.Close())
}
