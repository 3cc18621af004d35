package transfer

import (
	"bytes"
	"math"
	"slices"
	"testing"
)

func TestLedgerTornTail(t *testing.T) {
	entries := []Entry{{Index: 0, Digest: Digest{1}}, {Index: math.MaxInt64, Digest: Digest{31: 2}}, {Index: 0, Digest: Digest{3}}}
	b := AppendEntries(nil, entries[:1])
	b = AppendEntries(b, entries[1:])
	if len(b) != 3*EntrySize {
		t.Fatalf("%d bytes", len(b))
	}
	for n := range len(b) + 1 {
		if got := ParseEntries(b[:n]); !slices.Equal(got, entries[:n/EntrySize]) {
			t.Errorf("%d bytes are %v", n, got)
		}
	}
}

func FuzzLedger(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(AppendEntries(nil, []Entry{{Index: 7, Digest: Digest{1, 2, 3}}}))
	f.Add(AppendEntries(nil, []Entry{{Index: 0}, {Index: math.MaxInt64}, {Index: 0, Digest: Digest{255}}}))
	f.Add(bytes.Repeat([]byte{0xff}, 2*EntrySize-1))
	f.Add(make([]byte, EntrySize+1))
	f.Fuzz(func(t *testing.T, b []byte) {
		entries := ParseEntries(b)
		if back := AppendEntries(nil, entries); !bytes.Equal(back, b[:len(b)/EntrySize*EntrySize]) {
			t.Fatalf("%x became %x", b, back)
		}
	})
}
