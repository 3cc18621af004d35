package chunker

import "testing"

// TestBuffersAreLargeEnough: the pool never returns a buffer that is smaller than requested.
func TestBuffersAreLargeEnough(t *testing.T) {
	var b Buffers
	for _, size := range []int{4096, 1, 8192, 4096} {
		p := b.Get(size)
		if len(*p) < size {
			t.Errorf("got a buffer of %d bytes, want at least %d", len(*p), size)
		}
		b.Put(p)
	}
}
