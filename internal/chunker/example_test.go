package chunker_test

import (
	"context"
	"fmt"

	"github.com/transferd/transferd/internal/chunker"
	"github.com/transferd/transferd/internal/transfer"
)

// A sparse image of 10 MiB has data in its first 64 KiB and in the 4 KiB around 5 MiB. Only two of
// its chunks need to be read; the third is a hole, and shorter than the others.
func ExampleChunks() {
	extents := func(yield func(transfer.Extent, error) bool) {
		_ = yield(transfer.Extent{Off: 0, Len: 64 << 10}, nil) &&
			yield(transfer.Extent{Off: 5<<20 - 2048, Len: 4096}, nil)
	}
	const size, chunkSize = 10 << 20, 4 << 20
	for c, err := range chunker.Chunks(context.Background(), extents, size, chunkSize, true) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("chunk %d: %s at %s, hole %t\n",
			c.Index, transfer.FormatSize(int64(c.Len)), transfer.FormatSize(c.Off), c.Hole)
	}
	// Output:
	// chunk 0: 4M at 0, hole false
	// chunk 1: 4M at 4M, hole false
	// chunk 2: 2M at 8M, hole true
}

// A file system may store zeros in an extent. A chunk of zeros need not be written to a blank
// drive.
func ExampleIsZero() {
	chunk := make([]byte, 4<<20)
	fmt.Println(chunker.IsZero(chunk))
	chunk[len(chunk)-1] = 1
	fmt.Println(chunker.IsZero(chunk))
	// Output:
	// true
	// false
}
