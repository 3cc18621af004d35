package chunker

import "testing"

// TestBuffersAreLargeEnough whatever size their last user asked for.
func TestBuffersAreLargeEnough(t *testing.T) {
	var b Buffers
	for _, size := range []int{4096, 1, 8192, 4096} {
		p := b.Get(size)
		if len(*p) < size {
			t.Errorf("got a buffer of %d bytes, want %d", len(*p), size)
		}
		b.Put(p)
	}
}
