package transfer

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
)

// TestLastChunkMayBeShort, up to the largest image.
func TestLastChunkMayBeShort(t *testing.T) {
	const c = MinChunkSize
	for _, tc := range []struct {
		size, count int64
		last        int
	}{
		{0, 0, 0}, {1, 1, 1}, {c - 1, 1, c - 1}, {c, 1, c}, {c + 1, 2, 1}, {7*c + 5, 8, 5}, {16 << 40, 16 << 40 / c, c},
		{math.MaxInt64, math.MaxInt64/c + 1, c - 1},
	} {
		if n := ChunkCount(tc.size, c); n != tc.count {
			t.Errorf("%d bytes: got %d chunks, want %d", tc.size, n, tc.count)
		}
		if tc.count == 0 {
			continue
		}
		want := Chunk{Index: tc.count - 1, Off: (tc.count - 1) * c, Len: tc.last}
		if got := ChunkAt(tc.count-1, tc.size, c); got != want {
			t.Errorf("the last chunk of %d bytes: got %+v, want %+v", tc.size, got, want)
		}
	}
	if n := ChunkCount(-1, c); n != 0 {
		t.Errorf("unknown size: got %d chunks, want 0", n)
	}
}

// TestDigestTextIsHexadecimal, 64 digits of either case, and no other text is a digest.
func TestDigestTextIsHexadecimal(t *testing.T) {
	d := Digest{0: 0xab, 31: 0x01}
	b, err := json.Marshal(map[int64]Digest{3: d})
	if err != nil || string(b) != `{"3":"ab`+strings.Repeat("0", 60)+`01"}` {
		t.Fatalf("got %s, %v; want the digits in lower case", b, err)
	}
	for _, text := range [][]byte{[]byte(d.String()), bytes.ToUpper([]byte(d.String()))} {
		var back Digest
		if err := back.UnmarshalText(text); err != nil || back != d {
			t.Errorf("%s: got %s, %v; want %s", text, back, err, d)
		}
	}
	zeros := strings.Repeat("0", 66)
	for _, bad := range []string{"", "ab", zeros[:62], zeros[:63], zeros[:65], zeros, strings.Repeat("g", 64)} {
		if err := new(Digest).UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q: got no error, want one", bad)
		}
	}
}
