package localstore

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

func spec() *transfer.Spec {
	s := transfer.NewSpec(transfer.Upload, transfer.Ref{Path: "/a.img"}, transfer.Ref{Endpoint: "zrh"})
	return &s
}

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir, spec())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// openOther opens another job than open.
func openOther(t *testing.T, dir string) *Store {
	t.Helper()
	other := spec()
	other.Name = "another"
	s, err := Open(dir, other)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func save(t *testing.T, s *Store, c transfer.Checkpoint) {
	t.Helper()
	if err := s.Save(t.Context(), &c); err != nil {
		t.Fatal(err)
	}
}

func load(t *testing.T, s *Store) transfer.Checkpoint {
	t.Helper()
	c, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func entry(i int64) transfer.Entry {
	return transfer.Entry{Index: i, Digest: transfer.Digest{byte(i), 0xff}}
}

func TestNextAttemptLoadsTheCheckpoint(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if s.Attempt() != 1 || s.Resumable() {
		t.Errorf("a new job: got attempt %d, resumable %v; want 1, false", s.Attempt(), s.Resumable())
	}
	plan := transfer.Plan{Drive: "d", Created: time.Now().UTC().Round(0), Size: 9, ChunkSize: 4096}
	save(t, s, transfer.Checkpoint{Plan: plan, Entries: []transfer.Entry{entry(1)}})
	progress := transfer.Progress{Size: 9}
	save(t, s, transfer.Checkpoint{Plan: plan, Progress: progress, Entries: []transfer.Entry{entry(2), entry(3)}})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	defer s.Close()
	got := load(t, s)
	want := transfer.Checkpoint{
		Plan: plan, Progress: progress, Entries: []transfer.Entry{entry(1), entry(2), entry(3)},
	}
	if !reflect.DeepEqual(got, want) || s.Attempt() != 2 || !s.Resumable() {
		t.Errorf("got attempt %d, resumable %v and %+v; want 2, true and %+v", s.Attempt(), s.Resumable(), got, want)
	}
}

func TestResetDropsEarlierEntries(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	save(t, s, transfer.Checkpoint{Entries: []transfer.Entry{entry(1)}})
	save(t, s, transfer.Checkpoint{Reset: true, Entries: []transfer.Entry{entry(2)}})
	if got, want := load(t, s).Entries, []transfer.Entry{entry(2)}; !reflect.DeepEqual(got, want) {
		t.Errorf("got the entries %v, want %v", got, want)
	}
}

func TestIncompleteEntryIsTrimmed(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	save(t, s, transfer.Checkpoint{Entries: []transfer.Entry{entry(1)}})
	ledger := s.path("ledger")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	packed, err := os.ReadFile(ledger)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ledger, append(packed, packed[:transfer.EntrySize-1]...), 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	defer s.Close()
	save(t, s, transfer.Checkpoint{Entries: []transfer.Entry{entry(2)}})
	if got, want := load(t, s).Entries, []transfer.Entry{entry(1), entry(2)}; !reflect.DeepEqual(got, want) {
		t.Errorf("got the entries %v, want %v", got, want)
	}
}

func TestOneProcessRunsAJob(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := Open(dir, spec()); transfer.CodeOf(err) != transfer.CodeConflict {
		t.Errorf("second Open: got %v, want %s", err, transfer.CodeConflict)
	}
	for _, s := range []*Store{s, openOther(t, dir)} {
		if err := s.Remove(); err != nil {
			t.Errorf("Remove: got %v, want no error", err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close: got %v, want no error", err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
		t.Errorf("got the files %v, want none", left)
	}
}

// TestWriterExcludesOtherProcesses: many jobs may read a drive, or one may write it.
func TestWriterExcludesOtherProcesses(t *testing.T) {
	dir := t.TempDir()
	one, two := open(t, dir), openOther(t, dir)
	read := transfer.Claim{Endpoint: "zrh", Drive: "d"}
	write := transfer.Claim{Endpoint: "zrh", Drive: "d", Mark: "three"}
	for i, step := range []struct {
		s    *Store
		c    transfer.Claim
		code transfer.Code
	}{
		{one, read, ""}, {two, read, ""}, {two, read, ""},
		{two, transfer.Claim{Endpoint: "lvs", Drive: "d", Mark: "two"}, ""},
		{one, transfer.Claim{Endpoint: "lvs", Drive: "d"}, transfer.CodeConflict},
	} {
		if _, err := step.s.Claim(t.Context(), step.c); transfer.CodeOf(err) != step.code {
			t.Errorf("step %d: got %v, want %q", i, err, step.code)
		}
	}
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	third := spec()
	third.Name = "a third"
	three, err := Open(dir, third)
	if err != nil {
		t.Fatal(err)
	}
	defer three.Close()
	if _, err := three.Claim(t.Context(), write); transfer.CodeOf(err) != transfer.CodeConflict {
		t.Errorf("claim of a drive that another job reads: got %v, want %s", err, transfer.CodeConflict)
	}
	if err := two.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := three.Claim(t.Context(), write); err != nil {
		t.Errorf("after the readers have ended: got %v, want the claim", err)
	}
}

// TestClaimsByAccountExcludeEachOther: jobs that use one endpoint under two names exclude each
// other, and exclude jobs of earlier versions, which claim by name alone.
func TestClaimsByAccountExcludeEachOther(t *testing.T) {
	dir := t.TempDir()
	one, two := open(t, dir), openOther(t, dir)
	defer two.Close()
	claim := func(s *Store, c transfer.Claim, code transfer.Code, want string) {
		t.Helper()
		c.Drive = "d"
		if last, err := s.Claim(t.Context(), c); transfer.CodeOf(err) != code || last != want {
			t.Errorf("got the mark %q (%v), want %q and code %q", last, err, want, code)
		}
	}
	old := transfer.Claim{Endpoint: "zurich", Mark: "old"}
	claim(one, old, "", "")
	claim(two, transfer.Claim{Endpoint: "account", Names: []string{"zrh", "zurich"}}, transfer.CodeConflict, "")
	claim(one, transfer.Claim{Endpoint: "account", Names: []string{"zrh", "zurich"}, Mark: "new"}, "", "old")
	claim(two, transfer.Claim{Endpoint: "account", Names: []string{"elsewhere"}}, transfer.CodeConflict, "")
	claim(two, old, transfer.CodeConflict, "")
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	claim(two, transfer.Claim{Endpoint: "account", Names: []string{"elsewhere"}}, "", "new")
}

// TestMarkNamesTheLastWriter: a claim returns the mark of the last writer, also after readers. Old
// marks are removed.
func TestMarkNamesTheLastWriter(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	defer s.Close()
	claim := func(drive, mark, want string) {
		t.Helper()
		last, err := s.Claim(t.Context(), transfer.Claim{Endpoint: "zrh", Drive: drive, Mark: mark})
		if err != nil || last != want {
			t.Errorf("got the mark %q (%v), want %q", last, err, want)
		}
	}
	claim("d", "", "")
	claim("d", "one", "")
	claim("d", "", "one")
	claim("d", "two", "one")
	marks, _ := filepath.Glob(dir + ".marks/*")
	if len(marks) != 1 {
		t.Fatalf("got the marks %v, want one", marks)
	}
	old := time.Now().Add(-2 * markTTL)
	if err := os.Chtimes(marks[0], old, old); err != nil {
		t.Fatal(err)
	}
	claim("another", "one", "")
	claim("d", "", "")
}

// TestNewJobOfTheSameSpecHasAnotherID: after a job has ended, the same command is a job with
// another ID, so it does not find the drive of the first one. A second attempt keeps the ID.
func TestNewJobOfTheSameSpecHasAnotherID(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	first := s.ID()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	if s.ID() != first {
		t.Errorf("second attempt: got ID %s, want %s", s.ID(), first)
	}
	if err := errors.Join(s.Remove(), s.Close()); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	defer s.Close()
	if s.ID() == first {
		t.Errorf("next job: got ID %s again, want another one", first)
	}
}

// TestMissingStateFolderIsNotRetried: a save fails with a code that is not retried if the state
// folder is missing.
func TestMissingStateFolderIsNotRetried(t *testing.T) {
	s := open(t, t.TempDir())
	if err := os.RemoveAll(filepath.Dir(s.dir)); err != nil {
		t.Fatal(err)
	}
	err := s.Save(t.Context(), &transfer.Checkpoint{})
	if code := transfer.CodeOf(err); code.Retry() != transfer.RetryNever {
		t.Errorf("got %v with code %q, want a code that is not retried", err, code)
	}
}

// TestRestartDropsTheCheckpoint: after Restart the job has no checkpoint, and the same ID or
// another one.
func TestRestartDropsTheCheckpoint(t *testing.T) {
	for _, same := range []bool{true, false} {
		dir := t.TempDir()
		s := open(t, dir)
		save(t, s, transfer.Checkpoint{Plan: transfer.Plan{Drive: "d"}, Entries: []transfer.Entry{entry(1)}})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, dir)
		id := s.ID()
		if err := s.Restart(same); err != nil {
			t.Fatal(err)
		}
		if s.Attempt() != 1 || s.Resumable() || (s.ID() == id) != same {
			t.Errorf("same ID %v: got attempt %d of %s, which was %s, resumable %v; want attempt 1, not resumable",
				same, s.Attempt(), s.ID(), id, s.Resumable())
		}
		now := s.ID()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, dir)
		if at := load(t, s); s.ID() != now || len(at.Entries) > 0 || at.Plan.Drive != "" {
			t.Errorf("next attempt: got job %s and %+v, want job %s and an empty checkpoint", s.ID(), at, now)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestListShowsWhichJobsRun: List reports which jobs run and which have stopped. InUse reports
// whether a running job uses a drive.
func TestListShowsWhichJobsRun(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "local")
	if jobs, err := List(dir); len(jobs) != 0 || err != nil {
		t.Errorf("without a folder: got %+v (%v), want none", jobs, err)
	}
	reads, writes := transfer.Claim{Endpoint: "zrh", Drive: "r"}, transfer.Claim{Endpoint: "zrh", Drive: "w", Mark: "m"}
	inUse := func(want bool) {
		t.Helper()
		for _, c := range []transfer.Claim{reads, writes} {
			if used, err := InUse(dir, c); used != want || err != nil {
				t.Errorf("drive %s: got in use %v (%v), want %v", c.Drive, used, err, want)
			}
		}
	}
	inUse(false)
	s := open(t, dir)
	save(t, s, transfer.Checkpoint{Plan: transfer.Plan{Drive: "w"}})
	for _, c := range []transfer.Claim{reads, writes} {
		if _, err := s.Claim(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	for _, running := range []bool{true, false} {
		jobs, err := List(dir)
		if err != nil || len(jobs) != 1 {
			t.Fatalf("got %+v, %v; want one job", jobs, err)
		}
		if job := jobs[0]; job.ID != s.ID() || job.Running != running || job.Plan.Drive != "w" {
			t.Errorf("got %+v, want job %s with drive w, running %v", job, s.ID(), running)
		}
		inUse(running)
		if running {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
