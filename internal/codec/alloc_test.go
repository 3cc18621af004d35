//go:build !race

package codec

import (
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// TestEncodeAllocatesNothing holds a job's memory to its buffers: what a chunk is encoded with
// comes from the codec's pools, which the race detector empties at random.
func TestEncodeAllocatesNothing(t *testing.T) {
	for _, level := range []transfer.Compression{transfer.CompressionNone, transfer.CompressionAuto, 1, 6} {
		c := NewCodec(level)
		for name, fill := range kinds {
			p := fill(maxChunk / 4)
			if n := testing.AllocsPerRun(20, func() {
				b := c.Encode(p)
				b.Release()
			}); n > 1 { // the samples' counter
				t.Errorf("%s: a chunk of %s takes %v allocations", level, name, n)
			}
		}
	}
}
