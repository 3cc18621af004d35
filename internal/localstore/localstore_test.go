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
	j, err := Open(dir, spec())
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// openOther opens the journal of another job than open.
func openOther(t *testing.T, dir string) *Store {
	t.Helper()
	other := spec()
	other.Name = "another"
	j, err := Open(dir, other)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func save(t *testing.T, j *Store, c transfer.Checkpoint) {
	t.Helper()
	if err := j.Save(t.Context(), &c); err != nil {
		t.Fatal(err)
	}
}

func load(t *testing.T, j *Store) transfer.Checkpoint {
	t.Helper()
	c, err := j.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func entry(i int64) transfer.Entry {
	return transfer.Entry{Index: i, Digest: transfer.Digest{byte(i), 0xff}}
}

func TestWhatWasSavedIsThereForTheNextAttempt(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	if j.Attempt() != 1 || j.Resumable() {
		t.Errorf("a new journal is attempt %d, resumable %v", j.Attempt(), j.Resumable())
	}
	plan := transfer.Plan{Drive: "d", Created: time.Now().UTC().Round(0), Size: 9, ChunkSize: 4096}
	save(t, j, transfer.Checkpoint{Plan: plan, Entries: []transfer.Entry{entry(1)}})
	save(t, j, transfer.Checkpoint{Plan: plan, Progress: transfer.Progress{Size: 9}, Entries: []transfer.Entry{entry(2), entry(3)}})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, dir)
	defer j.Close()
	got := load(t, j)
	want := transfer.Checkpoint{Plan: plan, Progress: transfer.Progress{Size: 9}, Entries: []transfer.Entry{entry(1), entry(2), entry(3)}}
	if !reflect.DeepEqual(got, want) || j.Attempt() != 2 || !j.Resumable() {
		t.Errorf("attempt %d found %+v, want %+v", j.Attempt(), got, want)
	}
}

func TestResetForgetsEarlierEntries(t *testing.T) {
	j := open(t, t.TempDir())
	defer j.Close()
	save(t, j, transfer.Checkpoint{Entries: []transfer.Entry{entry(1)}})
	save(t, j, transfer.Checkpoint{Reset: true, Entries: []transfer.Entry{entry(2)}})
	if got := load(t, j).Entries; !reflect.DeepEqual(got, []transfer.Entry{entry(2)}) {
		t.Errorf("entries %v", got)
	}
}

func TestATornEntryIsTrimmedBeforeMoreIsAppended(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	save(t, j, transfer.Checkpoint{Entries: []transfer.Entry{entry(1)}})
	ledger := j.path("ledger")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	packed, err := os.ReadFile(ledger)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ledger, append(packed, packed[:transfer.EntrySize-1]...), 0o600); err != nil {
		t.Fatal(err)
	}
	j = open(t, dir)
	defer j.Close()
	save(t, j, transfer.Checkpoint{Entries: []transfer.Entry{entry(2)}})
	if got := load(t, j).Entries; !reflect.DeepEqual(got, []transfer.Entry{entry(1), entry(2)}) {
		t.Errorf("entries %v", got)
	}
}

func TestOneProcessRunsAJob(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	if _, err := Open(dir, spec()); transfer.CodeOf(err) != transfer.CodeConflict {
		t.Errorf("a second opening gives %v", err)
	}
	for _, j := range []*Store{j, openOther(t, dir)} {
		if err := j.Remove(); err != nil {
			t.Error(err)
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestClaims has jobs of several processes on one drive.
func TestClaims(t *testing.T) {
	dir := t.TempDir()
	one, two := open(t, dir), openOther(t, dir)
	read, write := transfer.Claim{Endpoint: "zrh", Drive: "d"}, transfer.Claim{Endpoint: "zrh", Drive: "d", Mark: "three"}
	for i, step := range []struct {
		j    *Store
		c    transfer.Claim
		code transfer.Code
	}{
		{one, read, ""}, {two, read, ""}, {two, read, ""}, {two, transfer.Claim{Endpoint: "lvs", Drive: "d", Mark: "two"}, ""},
		{one, transfer.Claim{Endpoint: "lvs", Drive: "d"}, transfer.CodeConflict},
	} {
		if _, err := step.j.Claim(t.Context(), step.c); transfer.CodeOf(err) != step.code {
			t.Errorf("step %d: %v", i, err)
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
		t.Errorf("a drive that is being read is written: %v", err)
	}
	if err := two.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := three.Claim(t.Context(), write); err != nil {
		t.Error(err)
	}
}

// TestClaimsByAccountExcludeEachOther: jobs that call one endpoint by two names exclude each other,
// and exclude jobs of earlier versions, which claim by name alone.
func TestClaimsByAccountExcludeEachOther(t *testing.T) {
	dir := t.TempDir()
	one, two := open(t, dir), openOther(t, dir)
	defer two.Close()
	claim := func(j *Store, c transfer.Claim, code transfer.Code, want string) {
		t.Helper()
		c.Drive = "d"
		if last, err := j.Claim(t.Context(), c); transfer.CodeOf(err) != code || last != want {
			t.Errorf("the last mark is %q, not %q; %v", last, want, err)
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

// TestMarks tells who wrote a drive last from who reads it, and forgets what is long ago.
func TestMarks(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	defer j.Close()
	claim := func(drive, mark, want string) {
		t.Helper()
		last, err := j.Claim(t.Context(), transfer.Claim{Endpoint: "zrh", Drive: drive, Mark: mark})
		if err != nil || last != want {
			t.Errorf("the last mark is %q, not %q; %v", last, want, err)
		}
	}
	claim("d", "", "")
	claim("d", "one", "")
	claim("d", "", "one")
	claim("d", "two", "one")
	marks, _ := filepath.Glob(dir + ".marks/*")
	if len(marks) != 1 {
		t.Fatalf("the marks are %v", marks)
	}
	old := time.Now().Add(-2 * remembered)
	if err := os.Chtimes(marks[0], old, old); err != nil {
		t.Fatal(err)
	}
	claim("another", "one", "")
	claim("d", "", "")
}

// TestAnotherJob has another name when the same command is given again after its job has ended: what it makes is not the
// first one's.
func TestAnotherJob(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	first := j.ID()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, dir)
	if j.ID() != first {
		t.Errorf("a second attempt is job %s, the first was %s", j.ID(), first)
	}
	if err := errors.Join(j.Remove(), j.Close()); err != nil {
		t.Fatal(err)
	}
	j = open(t, dir)
	defer j.Close()
	if j.ID() == first {
		t.Error("two jobs have one name")
	}
}

// TestStateFolderGone says so, and does not wait for it.
func TestStateFolderGone(t *testing.T) {
	j := open(t, t.TempDir())
	if err := os.RemoveAll(filepath.Dir(j.dir)); err != nil {
		t.Fatal(err)
	}
	err := j.Save(t.Context(), &transfer.Checkpoint{})
	if code := transfer.CodeOf(err); code.Retry() != transfer.RetryNever {
		t.Errorf("%v has code %s, which may pass", err, code)
	}
}

// TestRestartEmptiesTheJournal: the journal is empty after a restart, and has the same ID or
// another one, as asked.
func TestRestartEmptiesTheJournal(t *testing.T) {
	for _, same := range []bool{true, false} {
		dir := t.TempDir()
		j := open(t, dir)
		save(t, j, transfer.Checkpoint{Plan: transfer.Plan{Drive: "d"}, Entries: []transfer.Entry{entry(1)}})
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		j = open(t, dir)
		id := j.ID()
		if err := j.Restart(same); err != nil {
			t.Fatal(err)
		}
		if j.Attempt() != 1 || j.Resumable() || (j.ID() == id) != same {
			t.Errorf("same ID %v: it is attempt %d of %s, which was %s; resumable %v",
				same, j.Attempt(), j.ID(), id, j.Resumable())
		}
		now := j.ID()
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		j = open(t, dir)
		if at := load(t, j); j.ID() != now || len(at.Entries) > 0 || at.Plan.Drive != "" {
			t.Errorf("the next attempt is of %s, want %s, and finds %+v", j.ID(), now, at)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestListSaysWhatRuns: List says which jobs run and which have stopped; InUse says which drives
// running jobs use.
func TestListSaysWhatRuns(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "local")
	if jobs, err := List(dir); len(jobs) != 0 || err != nil {
		t.Errorf("without a folder: %+v, %v", jobs, err)
	}
	reads, writes := transfer.Claim{Endpoint: "zrh", Drive: "r"}, transfer.Claim{Endpoint: "zrh", Drive: "w", Mark: "m"}
	inUse := func(want bool) {
		t.Helper()
		for _, c := range []transfer.Claim{reads, writes} {
			if used, err := InUse(dir, c); used != want || err != nil {
				t.Errorf("drive %s is in use: %v, %v", c.Drive, used, err)
			}
		}
	}
	inUse(false)
	j := open(t, dir)
	save(t, j, transfer.Checkpoint{Plan: transfer.Plan{Drive: "w"}})
	for _, c := range []transfer.Claim{reads, writes} {
		if _, err := j.Claim(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	for _, running := range []bool{true, false} {
		jobs, err := List(dir)
		if err != nil || len(jobs) != 1 {
			t.Fatalf("got %+v, %v; want one job", jobs, err)
		}
		if job := jobs[0]; job.ID != j.ID() || job.Running != running || job.Plan.Drive != "w" {
			t.Errorf("got %+v, want job %s with drive w, running %v", job, j.ID(), running)
		}
		inUse(running)
		if running {
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
