package transfer

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
)

func TestChunks(t *testing.T) {
	const c = MinChunkSize
	for _, tc := range []struct {
		size, count int64
		last        int
	}{
		{0, 0, 0}, {1, 1, 1}, {c - 1, 1, c - 1}, {c, 1, c}, {c + 1, 2, 1}, {7*c + 5, 8, 5}, {16 << 40, 16 << 40 / c, c},
		{math.MaxInt64, math.MaxInt64/c + 1, c - 1},
	} {
		if n := ChunkCount(tc.size, c); n != tc.count {
			t.Errorf("%d bytes are %d chunks, want %d", tc.size, n, tc.count)
		}
		if tc.count == 0 {
			continue
		}
		want := Chunk{Index: tc.count - 1, Off: (tc.count - 1) * c, Len: tc.last}
		if got := ChunkAt(tc.count-1, tc.size, c); got != want {
			t.Errorf("the last chunk of %d bytes is %+v, want %+v", tc.size, got, want)
		}
	}
	if n := ChunkCount(-1, c); n != 0 {
		t.Errorf("an unknown size has %d chunks", n)
	}
}

func TestDigestText(t *testing.T) {
	d := Digest{0: 0xab, 31: 0x01}
	b, err := json.Marshal(map[int64]Digest{3: d})
	if err != nil || string(b) != `{"3":"ab`+strings.Repeat("0", 60)+`01"}` {
		t.Fatalf("%s, %v", b, err)
	}
	for _, text := range [][]byte{[]byte(d.String()), bytes.ToUpper([]byte(d.String()))} {
		var back Digest
		if err := back.UnmarshalText(text); err != nil || back != d {
			t.Errorf("%s is %s, %v", text, back, err)
		}
	}
	for _, bad := range []string{"", "ab", strings.Repeat("0", 62), strings.Repeat("0", 63), strings.Repeat("0", 65), strings.Repeat("0", 66), strings.Repeat("g", 64)} {
		if err := new(Digest).UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q is a digest", bad)
		}
	}
}
