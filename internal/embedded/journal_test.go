package embedded

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/transfer"
)

// TestGrownJournalIsRewritten: the journal is rewritten when it has grown, so it stays small.
func TestGrownJournalIsRewritten(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, "")
	m := r.engine.(*memory)
	m.mu.Lock()
	m.least = 16 << 10
	m.mu.Unlock()
	rdb := dial(t, r.URL())
	const n, word = 300, "a word of as many bytes as an entry has."
	for range n {
		write(t, rdb, "ledger", word)
	}
	info, err := os.Stat(filepath.Join(dir, journalFile))
	if err != nil {
		t.Fatal(err)
	}
	if limit := journalGrowth*n*int64(len(word)) + m.least; info.Size() > limit {
		t.Errorf("got a journal of %d bytes, want up to %d", info.Size(), limit)
	}
	stop(t, r)
	r = start(t, dir, "")
	defer stop(t, r)
	want(t, dial(t, r.URL()), "ledger", strings.Repeat(word, n))
}

// TestTemporaryJournalIsRemoved: a start removes the file that a crash during a rewrite leaves.
func TestTemporaryJournalIsRemoved(t *testing.T) {
	dir := t.TempDir()
	leftover := filepath.Join(dir, ".transferd-LEFTOVER.tmp")
	if err := os.WriteFile(leftover, []byte("half a journal"), 0o600); err != nil {
		t.Fatal(err)
	}
	stop(t, start(t, dir, ""))
	if _, err := os.Stat(leftover); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want %v", err, fs.ErrNotExist)
	}
}

// TestNoCommandIsLostSilently: a journal that is cut at any byte has all commands before the cut.
// One with a flipped byte fails, unless only its last command is damaged, as by a crash.
func TestNoCommandIsLostSilently(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	commands := [][]string{{"SET", "kept:a", "1"}, {"SET", "kept:b", ""}, {"SET", "kept:c", "three"}}
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
			t.Errorf("cut at %d: got %d commands (%v), want %d", cut, n, err, want)
		}
	}
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 0x40
		frame := slices.IndexFunc(ends, func(end int64) bool { return end > int64(i) })
		n, err := replayed(t, b)
		switch last := frame == len(ends)-1; {
		case last && (n != frame || err != nil):
			t.Errorf("byte %d of %d flipped: got %d commands (%v), want %d", i, len(whole), n, err, frame)
		case !last && transfer.CodeOf(err) != transfer.CodeFailed:
			t.Errorf("byte %d of %d flipped: got %d commands (%v), want %s", i, len(whole), n, err, transfer.CodeFailed)
		}
	}
}

// replayed returns how many commands of a journal a server in memory executes.
func replayed(t *testing.T, content []byte) (int, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "journal")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := startMemory(path, filepath.Join(t.TempDir(), "s"), &Config{Schema: testSchema{}, Log: zap.NewNop()})
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

// TestUnwrittenCommandIsNotAcknowledged: a command that cannot be written to the journal fails, and
// the commands before it are kept.
func TestUnwrittenCommandIsNotAcknowledged(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, "")
	rdb := dial(t, r.URL())
	write(t, rdb, "a", "kept")
	j := r.engine.(*memory).journal
	file := j.file
	var err error
	// The file is open only for reading, so each write fails.
	if j.file, err = os.Open(filepath.Join(dir, journalFile)); err != nil {
		t.Fatal(err)
	}
	if err := appendScript.Run(t.Context(), rdb, []string{"kept:b"}, "lost").Err(); err == nil {
		t.Error("got no error for a write that is not on disk")
	}
	if err := j.file.Close(); err != nil {
		t.Fatal(err)
	}
	j.file = file
	stop(t, r)
	r = start(t, dir, "")
	defer stop(t, r)
	rdb = dial(t, r.URL())
	want(t, rdb, "a", "kept")
	if n, err := rdb.DBSize(t.Context()).Result(); n != 1 || err != nil {
		t.Errorf("got %d keys (%v), want 1", n, err)
	}
}

func FuzzJournal(f *testing.F) {
	f.Add("SET", "key", []byte{})
	whole := encodeFrame([]string{"SET", "a", "b"})
	f.Add("", "", whole)
	f.Add("\x00", "\r\n", whole[:len(whole)-1])                   // an incomplete frame
	f.Add("ZADD", "\xff", append(bytes.Clone(whole), whole...))   // two frames
	f.Add("DEL", "asynq:{q}:t:1", bytes.Repeat([]byte{0xff}, 16)) // a length beyond the end
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 4
	f.Add("HSET", "key", flipped)
	f.Fuzz(func(t *testing.T, a, b string, raw []byte) {
		command := []string{a, b}
		got, rest, ok := decodeFrame(append(encodeFrame(command), raw...))
		if !ok || !slices.Equal(got, command) || !bytes.Equal(rest, raw) {
			t.Errorf("got %q (%v), want %q", got, ok, command)
		}
		for ok {
			_, rest, ok = decodeFrame(rest)
		}
	})
}
