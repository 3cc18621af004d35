//go:build !race

package codec

import (
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// TestEncodeAllocatesNothing: buffers and gzip writers come from pools, so encoding does not add to
// a job's memory. The race detector empties pools at random.
func TestEncodeAllocatesNothing(t *testing.T) {
	for _, level := range []transfer.Compression{transfer.CompressionNone, transfer.CompressionAuto, 1, 6} {
		c := NewCodec(level)
		for name, fill := range kinds {
			p := fill(maxChunk / 4)
			if n := testing.AllocsPerRun(20, func() {
				b := c.Encode(p)
				b.Release()
			}); n > 1 { // the countingWriter of the samples
				t.Errorf("%s: got %v allocations for a chunk of %s, want at most 1", level, n, name)
			}
		}
	}
}
