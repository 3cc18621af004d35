package queue

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/transfer"
)

// TestMemorySurvives restarts the queue in memory in the middle of everything: a job that waits, one that runs, and one
// that ended after its first worker had died.
func TestMemorySurvives(t *testing.T) {
	dir := t.TempDir()
	e := embed(t, dir, "")
	c := dial(t, e.Options())
	waits, runs, ended, gone := enqueue(t, c), enqueue(t, c), enqueue(t, c), enqueue(t, c)
	take := func(id string, lease time.Duration) *Attempt {
		t.Helper()
		timing := quick
		timing.lease = lease
		for {
			a, err := c.acquire(t.Context(), id, "w", timing)
			if err != nil {
				t.Fatal(err)
			}
			if a != nil {
				return a
			}
		}
	}
	save := func(a *Attempt, list []transfer.Entry) {
		t.Helper()
		if err := a.Save(t.Context(), &transfer.Checkpoint{Plan: transfer.Plan{Drive: "d"}, Entries: list}); err != nil {
			t.Fatal(err)
		}
	}
	save(take(runs, time.Hour), entries(0, 3))
	take(ended, time.Millisecond) // and dies
	second := take(ended, time.Hour)
	save(second, entries(0, 2))
	if err := second.settle(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Cancel(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Prune(t.Context(), PruneOptions{States: []transfer.State{transfer.Canceled}}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	for range 2 { // the second time from a journal that was written anew
		closeEmbedded(t, e)
		e = embed(t, dir, "")
		c = dial(t, e.Options())
		for id, state := range map[string]transfer.State{waits: transfer.Queued, runs: transfer.Running, ended: transfer.Succeeded} {
			if job, err := c.Job(t.Context(), id); err != nil || job.State != state {
				t.Errorf("the job is %s, not %s (%v)", job.State, state, err)
			}
		}
		for id, n := range map[string]int64{runs: 3, ended: 2} {
			if _, at, err := c.Ledger(t.Context(), id); err != nil || !slices.Equal(at.Entries, entries(0, n)) || at.Plan.Drive != "d" {
				t.Errorf("the ledger has %d entries, not %d (%v)", len(at.Entries), n, err)
			}
		}
		if jobs, err := c.Jobs(t.Context(), Filter{}); err != nil || len(jobs) != 3 {
			t.Errorf("%d jobs are listed, %v", len(jobs), err)
		}
	}
	t.Cleanup(func() { closeEmbedded(t, e) })
	serve(t, c, "one", func(context.Context, <-chan struct{}, *Attempt) error { return nil })
	await(t, c, waits, transfer.Succeeded)
	await(t, c, runs, transfer.Succeeded)
}

// TestJournalGrows writes a journal anew under a job that runs, each time that it has grown.
func TestJournalGrows(t *testing.T) {
	dir := t.TempDir()
	e := embed(t, dir, "")
	m := e.engine.(*memory)
	m.mu.Lock()
	m.least = 16 << 10
	m.mu.Unlock()
	c := dial(t, e.Options())
	a := attempt(t, c)
	const n = 300
	for i := range int64(n) {
		if err := a.Save(t.Context(), &transfer.Checkpoint{Entries: entries(i, 1)}); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, journalFile)); err != nil || info.Size() > journalGrowth*n*transfer.EntrySize+m.least {
		t.Errorf("the journal has %d bytes, %v", info.Size(), err)
	}
	closeEmbedded(t, e)
	e = embed(t, dir, "")
	defer closeEmbedded(t, e)
	job, at, err := dial(t, e.Options()).Ledger(t.Context(), a.Job.ID)
	if err != nil || job.State != transfer.Running || !slices.Equal(at.Entries, entries(0, n)) {
		t.Errorf("the job is %s, with %d entries; %v", job.State, len(at.Entries), err)
	}
}

// TestJournalKnowsLeases replays what came after a lease had lapsed and was renewed.
func TestJournalKnowsLeases(t *testing.T) {
	dir := t.TempDir()
	e := embed(t, dir, "")
	c := dial(t, e.Options())
	long := quick
	long.lease = time.Hour
	a, err := c.acquire(t.Context(), enqueue(t, c), "w", long)
	if err != nil || a == nil {
		t.Fatal(a, err)
	}
	if err := c.rdb.Del(t.Context(), leaseKey(a.Job.ID)).Err(); err != nil {
		t.Fatal(err)
	}
	if err := c.expire(t.Context(), a.Job.ID); err != nil { // it is not due, but the journal has it that there was no lease
		t.Fatal(err)
	}
	if err := a.renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if other, err := c.acquire(t.Context(), a.Job.ID, "other", quick); other != nil || err != nil {
		t.Fatal(other, err)
	}
	if err := a.Save(t.Context(), &transfer.Checkpoint{Entries: entries(0, 2)}); err != nil {
		t.Fatal(err)
	}
	closeEmbedded(t, e)
	e = embed(t, dir, "")
	defer closeEmbedded(t, e)
	if _, at, err := dial(t, e.Options()).Ledger(t.Context(), a.Job.ID); err != nil || !slices.Equal(at.Entries, entries(0, 2)) {
		t.Errorf("there are %d entries, %v", len(at.Entries), err)
	}
}

// TestJournalEnds cuts a journal at every byte: what came before the cut is there. Then it flips every byte: what follows
// is never lost without a word.
func TestJournalEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	commands := [][]string{{"SET", "td:a", "1"}, {"SET", "td:b", ""}, {"SET", "td:c", "three"}}
	j, err := rewriteJournal(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	var ends []int64
	for _, c := range commands {
		if err := j.append(nil, c); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, j.size)
	}
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range int64(len(whole)) + 1 {
		want := slices.IndexFunc(append(ends, 1<<62), func(end int64) bool { return end > cut })
		if n, err := replayed(t, whole[:cut]); n != want || err != nil {
			t.Errorf("cut at %d: %d commands, not %d (%v)", cut, n, want, err)
		}
	}
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 0x40
		frame := slices.IndexFunc(ends, func(end int64) bool { return end > int64(i) })
		n, err := replayed(t, b)
		if last := frame == len(ends)-1; last && (n != frame || err != nil) || !last && transfer.CodeOf(err) != transfer.CodeFailed {
			t.Errorf("byte %d of %d, in command %d, flipped: %d commands, %v", i, len(whole), frame, n, err)
		}
	}
}

// replayed is how many commands of a journal a queue in memory carries out.
func replayed(t *testing.T, content []byte) (int, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "journal")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := startMemory(path, filepath.Join(t.TempDir(), "s"), zap.NewNop())
	if err != nil {
		return 0, err
	}
	defer func() {
		if err := m.close(); err != nil {
			t.Error(err)
		}
	}()
	return len(m.(*memory).redis.Keys()), nil
}

// TestJournalFull takes nothing on that it could not write down, and what it wrote before is whole.
func TestJournalFull(t *testing.T) {
	dir := t.TempDir()
	e := embed(t, dir, "")
	c := dial(t, e.Options())
	kept := enqueue(t, c)
	j := e.engine.(*memory).journal
	file := j.file
	var err error
	if j.file, err = os.Open(filepath.Join(dir, journalFile)); err != nil { // only for reading, so each write fails
		t.Fatal(err)
	}
	if _, err := c.Enqueue(t.Context(), newSpec()); err == nil {
		t.Error("a job was taken on that is written nowhere")
	}
	if err := j.file.Close(); err != nil {
		t.Fatal(err)
	}
	j.file = file
	closeEmbedded(t, e)
	e = embed(t, dir, "")
	defer closeEmbedded(t, e)
	if jobs, err := dial(t, e.Options()).Jobs(t.Context(), Filter{}); err != nil || len(jobs) != 1 || jobs[0].ID != kept {
		t.Errorf("%d jobs are there, %v", len(jobs), err)
	}
}

func FuzzJournal(f *testing.F) {
	f.Add("SET", "key", []byte{})
	whole := encodeFrame([]string{"SET", "a", "b"})
	f.Add("", "", whole)
	f.Add("\x00", "\r\n", whole[:len(whole)-1])                   // cut in the last frame
	f.Add("ZADD", "\xff", append(bytes.Clone(whole), whole...))   // more than one
	f.Add("DEL", "asynq:{q}:t:1", bytes.Repeat([]byte{0xff}, 16)) // a length that is far too long
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 4
	f.Add("HSET", "key", flipped)
	f.Fuzz(func(t *testing.T, a, b string, raw []byte) {
		command := []string{a, b}
		got, rest, ok := decodeFrame(append(encodeFrame(command), raw...))
		if !ok || !slices.Equal(got, command) || !bytes.Equal(rest, raw) {
			t.Errorf("%q became %q, %v", command, got, ok)
		}
		for ok {
			_, rest, ok = decodeFrame(rest)
		}
	})
}
