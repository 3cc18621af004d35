package localstore

import (
	"errors"
	"slices"

	"github.com/transferd/transferd/internal/transfer"
)

// Discard calls destroy, which destroys what the job with this ID has made, and then removes the
// folder of the job, so that the same command begins another job. Meanwhile no process can resume
// the job. dir is as for Open; without such a job in it, Discard only calls destroy. If destroy
// fails, the folder stays. ok is false if a process runs the job; then destroy was not called.
func Discard(dir, id string, destroy func() error) (ok bool, err error) {
	s := new(Store)
	if s.dir, err = folderOf(dir, id); err != nil {
		return true, err
	}
	if s.dir == "" {
		return true, destroy()
	}
	if err := s.takeLock(); err != nil {
		if transfer.CodeOf(err) == transfer.CodeConflict {
			return false, nil
		}
		return true, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	// Until it was locked, another process may have ended the job and begun another one.
	still, err := folderOf(dir, id)
	if err == nil {
		err = destroy()
	}
	if err != nil || still == "" {
		return true, err
	}
	return true, s.Remove()
}

// folderOf is the folder of the job with this ID; empty if there is none.
func folderOf(dir, id string) (string, error) {
	jobs, err := List(dir)
	if i := slices.IndexFunc(jobs, func(j Summary) bool { return j.ID == id }); i >= 0 {
		return jobs[i].Dir, err
	}
	return "", err
}
