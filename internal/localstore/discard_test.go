package localstore

import (
	"errors"
	"os"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// TestDiscardRemovesTheFolderOfAStoppedJob: Discard removes the folder only if destroy succeeds and
// no process runs the job. destroy is called while the job is locked.
func TestDiscardRemovesTheFolderOfAStoppedJob(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	id, calls := s.ID(), 0
	var failure error
	destroyed := func() error { calls++; return failure }
	if ok, err := Discard(dir, id, destroyed); ok || err != nil || calls != 0 {
		t.Errorf("a running job: got %v, %v and %d calls, want false and no call", ok, err, calls)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	failure = errors.New("busy")
	if ok, err := Discard(dir, id, destroyed); !ok || !errors.Is(err, failure) {
		t.Errorf("got %v, %v, want the error of destroy", ok, err)
	}
	failure = nil
	ok, err := Discard(dir, id, func() error {
		_, err := Open(dir, spec())
		if transfer.CodeOf(err) != transfer.CodeConflict {
			t.Errorf("the same command while its drive is destroyed: got %v, want %s", err, transfer.CodeConflict)
		}
		return destroyed()
	})
	if left, _ := os.ReadDir(dir); !ok || err != nil || calls != 2 || len(left) != 0 {
		t.Errorf("a stopped job: got %v, %v, %d calls and the files %v; want 2 calls and no files",
			ok, err, calls, left)
	}
	if ok, err := Discard(dir, id, destroyed); !ok || err != nil || calls != 3 {
		t.Errorf("no such job: got %v, %v and %d calls, want 3 calls", ok, err, calls)
	}
	s = open(t, dir)
	defer s.Close()
	if s.ID() == id || s.Attempt() != 1 {
		t.Errorf("the same command: got attempt %d of job %s, want another job than %s", s.Attempt(), s.ID(), id)
	}
}
