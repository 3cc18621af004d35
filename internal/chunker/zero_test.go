package chunker

import (
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

func TestIsZeroFindsAnyOtherByte(t *testing.T) {
	buf := make([]byte, 4*4096+8)
	for _, n := range []int{0, 1, 7, 8, 4095, 4096, 4097, 2*4096 - 1, 2 * 4096, 2*4096 + 1, 3*4096 + 5} {
		for _, start := range []int{0, 1, 3} {
			p := buf[start : start+n]
			if !IsZero(p) {
				t.Errorf("%d zeros at %d: got false, want true", n, start)
			}
			// The bytes around p do not count.
			if start > 0 {
				buf[start-1] = 1
			}
			buf[start+n] = 1
			if !IsZero(p) {
				t.Errorf("%d zeros at %d between other bytes: got false, want true", n, start)
			}
			clear(buf)
			for _, i := range []int{0, 1, n / 2, 4095, 4096, n - 2, n - 1} {
				if i < 0 || i >= n {
					continue
				}
				p[i] = 0x80
				if IsZero(p) {
					t.Errorf("%d bytes, not zero at %d: got true, want false", n, i)
				}
				p[i] = 0
			}
		}
	}
}

func BenchmarkIsZero(b *testing.B) {
	p := make([]byte, transfer.DefaultChunkSize)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		if !IsZero(p) {
			b.Fatal("got false, want true")
		}
	}
}
