// Package localstore is the store of a job that runs without a queue. It keeps the job's checkpoint
// on disk, so that the same command resumes after an interruption.
//
// Each job has a folder, named by the fingerprint of its spec. The folder has two files:
// state.json, which each save replaces, and ledger, to which each save appends packed entries. Save
// syncs the ledger before it returns, unless another save follows soon.
//
// Kernel locks protect a job and the drives it uses: a second process cannot open the same job, and
// cannot claim a drive that a job writes.
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
	"reflect"

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
	// unsynced: a crash of the host may lose entries of the ledger.
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

// Open opens the folder of the job that spec describes, under dir, or makes it. Two jobs with equal
// specs are the same job. CodeConflict: another process runs the job.
func Open(dir string, spec *transfer.Spec) (*Store, error) {
	key, err := spec.Fingerprint()
	if err != nil {
		return nil, err
	}
	// After this job has ended, the same command is another job with another ID, and so does not
	// find the drive of this one by its tag.
	s := &Store{dir: filepath.Join(dir, key), state: state{ID: newID()}}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, failed("make folder of local jobs", err)
	}
	if err := s.takeLock(); err != nil {
		return nil, err
	}
	if err := s.begin(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func newID() string { return "local-" + xid.New().String() }

// takeLock locks a file next to the folder. A lock inside of it would end with Remove.
func (s *Store) takeLock() error {
	for {
		f, err := os.OpenFile(s.dir+".lock", os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return fmt.Errorf("open job lock: %w", err)
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err != nil {
			err = transfer.Errorf(transfer.CodeConflict,
				"wait for it to end, or stop it", "the same job is running in %s", holderText(f.Name()))
			return errors.Join(err, f.Close())
		}
		// The last holder may have removed the file before this process locked it.
		held, err := f.Stat()
		if err != nil {
			return errors.Join(fmt.Errorf("check job lock: %w", err), f.Close())
		}
		if named, err := os.Stat(f.Name()); err == nil && os.SameFile(held, named) {
			s.lock = f
			return nil
		}
		if err := f.Close(); err != nil {
			return fmt.Errorf("close job lock: %w", err)
		}
	}
}

// holderText names the process that holds a lock.
func holderText(lock string) string {
	if pid := fsx.LockHolder(lock); pid != 0 {
		return fmt.Sprintf("process %d", pid)
	}
	return "another process"
}

func (s *Store) begin() error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return failed("make job folder", err)
	}
	if err := fsx.RemoveTemporary(s.dir); err != nil {
		return failed("remove temporary files of the job folder", err)
	}
	text, err := os.ReadFile(s.path("state.json"))
	if err == nil {
		err = json.Unmarshal(text, &s.state)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read job folder (remove %s to start over): %w", s.dir, err)
	}
	s.ledger, err = os.OpenFile(s.path("ledger"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return failed("open ledger", err)
	}
	if err := s.trim(); err != nil {
		return err
	}
	s.state.Attempts++
	return s.writeState()
}

// trim removes an incomplete entry, which a crash or a full disk left, from the end of the ledger:
// with it, all entries after it would be unreadable.
func (s *Store) trim() error {
	info, err := s.ledger.Stat()
	if err != nil {
		return failed("check ledger", err)
	}
	size := info.Size() / transfer.EntrySize * transfer.EntrySize
	if s.state.Reset {
		size = 0
	}
	if err := s.ledger.Truncate(size); err != nil {
		return failed("trim ledger", err)
	}
	s.state.Reset = false
	return nil
}

// failed adds a code and a hint to an error of the state folder. No such error passes with time, so
// the code is one that is not retried.
func failed(op string, err error) error {
	if err == nil {
		return nil
	}
	e := &transfer.Error{
		Op: op, Code: transfer.CodeFailed, Err: err,
		Hint: "the state folder (state: in the config) must exist and be writable",
	}
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		e.Code = transfer.CodeNoSpace
		e.Hint = "free space on the file system of the state folder (state: in the config)"
	}
	return e
}

func (s *Store) path(name string) string { return filepath.Join(s.dir, name) }

// ID is the unique ID of the job. A later job of the same spec has another one.
func (s *Store) ID() string { return s.state.ID }

// Attempt is the number of this attempt; the first is 1.
func (s *Store) Attempt() int { return s.state.Attempts }

// Load implements transfer.Store.
func (s *Store) Load(context.Context) (transfer.Checkpoint, error) {
	packed, err := os.ReadFile(s.path("ledger"))
	if err != nil {
		return transfer.Checkpoint{}, failed("read ledger", err)
	}
	return transfer.Checkpoint{
		Plan: s.state.Plan, Progress: s.state.Progress, Entries: transfer.ParseEntries(packed),
	}, nil
}

// Save implements transfer.Store. It writes the plan before it adds the entries that depend on the
// plan, and before it removes entries of an earlier plan. If another Save follows soon, it does not
// sync the entries.
func (s *Store) Save(_ context.Context, c *transfer.Checkpoint) error {
	if c.Interim && !c.Reset && reflect.DeepEqual(c.Plan, s.state.Plan) {
		return s.append(c.Entries)
	}
	s.state.Plan, s.state.Progress, s.state.Reset = c.Plan, c.Progress, c.Reset
	if err := s.writeState(); err != nil {
		return err
	}
	if c.Reset {
		if err := errors.Join(s.trim(), s.writeState()); err != nil {
			return err
		}
	}
	if err := s.append(c.Entries); err != nil || !s.unsynced {
		return err
	}
	if err := s.ledger.Sync(); err != nil {
		return errors.Join(failed("write ledger", err), s.trim())
	}
	s.unsynced = false
	return nil
}

func (s *Store) append(entries []transfer.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	s.unsynced = true
	if _, err := s.ledger.Write(transfer.AppendEntries(nil, entries)); err != nil {
		return errors.Join(failed("write ledger", err), s.trim())
	}
	return nil
}

func (s *Store) writeState() error {
	text, err := json.Marshal(s.state)
	if err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	return failed("write job folder", replaceFile(s.path("state.json"), text))
}

func replaceFile(path string, text []byte) error {
	return fsx.WriteFile(path, 0o600, true, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}

// Resumable reports whether this or an earlier attempt did anything that the next one can continue.
func (s *Store) Resumable() bool {
	info, err := s.ledger.Stat()
	return s.state.Plan.DriveRequested || s.state.Plan.Drive != "" || (err == nil && info.Size() > 0)
}

// Finished reports whether an earlier attempt had completed the target.
func (s *Store) Finished() bool { return s.state.Plan.Finished }

// Restart drops the checkpoint of earlier attempts. This attempt becomes the first one: of the same
// job with sameID, else of a new job.
func (s *Store) Restart(sameID bool) error {
	// The next attempt destroys the clone, by its UUID, for its tag names the ID.
	plan := transfer.Plan{Snapshot: s.state.Plan.Snapshot}
	if s.state.Attempts = 1; !sameID {
		s.state.ID = newID()
		plan.Snapshot.Tagged = false
	}
	return s.Save(context.Background(), &transfer.Checkpoint{Plan: plan, Reset: true})
}

// Remove removes the job's folder.
func (s *Store) Remove() error {
	if err := os.RemoveAll(s.dir); err != nil {
		return fmt.Errorf("remove job folder: %w", err)
	}
	return nil
}

// Close unlocks the job and its drives for other processes.
func (s *Store) Close() error {
	var err error
	if s.ledger != nil {
		err = s.ledger.Close()
	}
	if s.drives != nil {
		err = errors.Join(err, s.drives.Close())
	}
	return errors.Join(err, os.Remove(s.lock.Name()), s.lock.Close())
}
