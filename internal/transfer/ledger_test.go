package transfer

import (
	"bytes"
	"math"
	"slices"
	"testing"
)

// TestIncompleteEntryIsIgnored: an interrupted append leaves it at the end of a ledger.
func TestIncompleteEntryIsIgnored(t *testing.T) {
	entries := []Entry{
		{Index: 0, Digest: Digest{1}}, {Index: math.MaxInt64, Digest: Digest{31: 2}}, {Index: 0, Digest: Digest{3}},
	}
	b := AppendEntries(nil, entries[:1])
	b = AppendEntries(b, entries[1:])
	if len(b) != 3*EntrySize {
		t.Fatalf("got %d bytes, want %d", len(b), 3*EntrySize)
	}
	for n := range len(b) + 1 {
		if got := ParseEntries(b[:n]); !slices.Equal(got, entries[:n/EntrySize]) {
			t.Errorf("%d bytes: got %v, want %v", n, got, entries[:n/EntrySize])
		}
	}
}

// FuzzLedger decodes any bytes and encodes the entries again.
func FuzzLedger(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(AppendEntries(nil, []Entry{{Index: 7, Digest: Digest{1, 2, 3}}}))
	f.Add(AppendEntries(nil, []Entry{{Index: 0}, {Index: math.MaxInt64}, {Index: 0, Digest: Digest{255}}}))
	f.Add(bytes.Repeat([]byte{0xff}, 2*EntrySize-1))
	f.Add(make([]byte, EntrySize+1))
	f.Fuzz(func(t *testing.T, b []byte) {
		entries := ParseEntries(b)
		if back := AppendEntries(nil, entries); !bytes.Equal(back, b[:len(b)/EntrySize*EntrySize]) {
			t.Fatalf("encoded again: got %x, want %x", back, b)
		}
	})
}
