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

// feed writes p in pieces of size n, with empty ones in between.
func feed(t testing.TB, c *Comparer, p []byte, n int) {
	t.Helper()
	for len(p) > 0 {
		piece := p[:min(n, len(p))]
		for _, w := range [][]byte{piece, nil} {
			if got, err := c.Write(w); got != len(w) || err != nil {
				t.Fatal(got, err)
			}
		}
		p = p[len(piece):]
	}
}

func TestComparer(t *testing.T) {
	const n = 1000
	want := randomBytes(1, n)
	c := NewComparer()
	for _, piece := range []int{1, 3, 7, 333, n - 1, n, n + 1, 2 * n} {
		check := func(got []byte, diff int, equal bool) {
			t.Helper()
			c.Reset(want)
			feed(t, c, got, piece)
			if d, ok := c.Equal(); d != diff || ok != equal {
				t.Errorf("pieces of %d, %d bytes: %d, %t; want %d, %t", piece, len(got), d, ok, diff, equal)
			}
			if c.Digest() != Sum(got) {
				t.Errorf("pieces of %d, %d bytes: the digest is not of what came", piece, len(got))
			}
		}
		check(want, 0, true)
		for _, at := range []int{0, 1, piece - 1, piece, piece + 1, n/2 - 1, n - 2, n - 1} {
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

func TestComparerWithoutBytes(t *testing.T) {
	c := NewComparer()
	c.Reset([]byte("something else"))
	feed(t, c, []byte("x"), 1)
	p := randomBytes(2, 5000)
	for range 2 {
		c.Reset(nil)
		feed(t, c, p, 999)
		if _, ok := c.Equal(); !ok || c.Digest() != Sum(p) || c.Digest() != Sum(p) {
			t.Error("with nothing to compare with there is a difference, or a wrong digest")
		}
	}
}

func TestComparerOfNothing(t *testing.T) {
	c := NewComparer()
	c.Reset([]byte{})
	if d, ok := c.Equal(); d != 0 || !ok {
		t.Errorf("nothing against nothing: %d, %t", d, ok)
	}
	feed(t, c, []byte{0}, 1)
	if d, ok := c.Equal(); d != 0 || ok {
		t.Errorf("a byte against nothing: %d, %t", d, ok)
	}
}

func TestComparerAllocatesNothing(t *testing.T) {
	c, p := NewComparer(), randomBytes(3, 10_000)
	if n := testing.AllocsPerRun(10, func() {
		c.Reset(p)
		_, _ = c.Write(p)
		_, _ = c.Equal()
		_ = c.Digest()
	}); n > 1 { // the sum's own state
		t.Errorf("%v allocations a chunk", n)
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
