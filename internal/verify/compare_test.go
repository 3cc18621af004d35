package verify

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

func randomBytes(seed byte, n int) []byte {
	p := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{seed})
	_, _ = rng.Read(p)
	return p
}

// writeIn writes p in blocks of n bytes, with empty writes in between.
func writeIn(t testing.TB, c *Comparer, p []byte, n int) {
	t.Helper()
	for len(p) > 0 {
		block := p[:min(n, len(p))]
		for _, w := range [][]byte{block, nil} {
			if got, err := c.Write(w); got != len(w) || err != nil {
				t.Fatalf("Write: got %d, %v; want %d", got, err, len(w))
			}
		}
		p = p[len(block):]
	}
}

// TestComparerFindsTheFirstDifference, in blocks of any size, and hashes what was written.
func TestComparerFindsTheFirstDifference(t *testing.T) {
	const n = 1000
	want := randomBytes(1, n)
	c := NewComparer()
	for _, block := range []int{1, 3, 7, 333, n - 1, n, n + 1, 2 * n} {
		check := func(got []byte, diff int, equal bool) {
			t.Helper()
			c.Reset(want)
			writeIn(t, c, got, block)
			if d, ok := c.Equal(); d != diff || ok != equal {
				t.Errorf("blocks of %d, %d bytes: got %d, %t; want %d, %t", block, len(got), d, ok, diff, equal)
			}
			if c.Digest() != Sum(got) {
				t.Errorf("blocks of %d, %d bytes: got digest %s, want %s", block, len(got), c.Digest(), Sum(got))
			}
		}
		check(want, 0, true)
		for _, at := range []int{0, 1, block - 1, block, block + 1, n/2 - 1, n - 2, n - 1} {
			if at < n {
				bad := bytes.Clone(want)
				bad[at] ^= 0x01
				check(bad, at, false)
				bad[n-1] ^= 0x80
				check(bad, at, false)
			}
		}
		for _, short := range []int{0, 1, n - 1} {
			check(want[:short], short, false)
		}
		check(append(bytes.Clone(want), 0), n, false)
		check(append(bytes.Clone(want), want...), n, false)
		check(append([]byte{want[0] ^ 1}, want...), 0, false)
	}
}

// TestComparerWithoutExpectedBytesHashes and finds no difference.
func TestComparerWithoutExpectedBytesHashes(t *testing.T) {
	c := NewComparer()
	c.Reset([]byte("something else"))
	writeIn(t, c, []byte("x"), 1)
	p := randomBytes(2, 5000)
	for range 2 {
		c.Reset(nil)
		writeIn(t, c, p, 999)
		if _, ok := c.Equal(); !ok || c.Digest() != Sum(p) || c.Digest() != Sum(p) {
			t.Errorf("got equal %t, digest %s; want true, %s", ok, c.Digest(), Sum(p))
		}
	}
}

// TestComparerOfAnEmptyChunk: any byte is a difference.
func TestComparerOfAnEmptyChunk(t *testing.T) {
	c := NewComparer()
	c.Reset([]byte{})
	if d, ok := c.Equal(); d != 0 || !ok {
		t.Errorf("no bytes: got %d, %t; want 0, true", d, ok)
	}
	writeIn(t, c, []byte{0}, 1)
	if d, ok := c.Equal(); d != 0 || ok {
		t.Errorf("one byte: got %d, %t; want 0, false", d, ok)
	}
}

func TestComparerAllocatesNothing(t *testing.T) {
	c, p := NewComparer(), randomBytes(3, 10_000)
	if n := testing.AllocsPerRun(10, func() {
		c.Reset(p)
		_, _ = c.Write(p)
		_, _ = c.Equal()
		_ = c.Digest()
	}); n > 1 { // the hash's copy of its state
		t.Errorf("got %v allocations a chunk, want at most 1", n)
	}
}

func BenchmarkComparer(b *testing.B) {
	p := randomBytes(4, transfer.DefaultChunkSize)
	for name, want := range map[string][]byte{"bytes": p, "digest": nil} {
		b.Run(name, func(b *testing.B) {
			c := NewComparer()
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for b.Loop() {
				c.Reset(want)
				for rest := p; len(rest) > 0; {
					n := min(32<<10, len(rest))
					_, _ = c.Write(rest[:n])
					rest = rest[n:]
				}
				if _, ok := c.Equal(); !ok {
					b.Fatal("equal bytes differ")
				}
				_ = c.Digest()
			}
		})
	}
}
