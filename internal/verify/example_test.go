package verify_test

import (
	"bytes"
	"fmt"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/verify"
)

const chunkSize = transfer.MinChunkSize

// The image has three chunks, and the second is zeros. The chunks root needs the digests of the
// other two only: it is that of the whole image.
func ExampleRoot() {
	image := make([]byte, 3*chunkSize)
	image[0], image[2*chunkSize] = 1, 2
	chunks := map[int64]transfer.Digest{
		0: verify.Sum(image[:chunkSize]),
		2: verify.Sum(image[2*chunkSize:]),
	}
	sparse := verify.Root(int64(len(image)), chunkSize, verify.Ascending(chunks))

	chunks[1] = verify.ZeroDigest(chunkSize)
	full := verify.Root(int64(len(image)), chunkSize, verify.Ascending(chunks))
	fmt.Println(sparse[:16], sparse == full)
	// Output: f0359db52cb99898 true
}

// A manifest of an image of zeros has no chunks. A damaged one is rejected.
func ExampleParseManifest() {
	var file bytes.Buffer
	m := verify.NewManifest(chunkSize, chunkSize, nil, "")
	if err := verify.WriteManifest(&file, m); err != nil {
		fmt.Println(err)
		return
	}
	got, err := verify.ParseManifest(file.Bytes())
	fmt.Println(transfer.FormatSize(got.Size), len(got.Chunks), err)

	damaged := bytes.Replace(file.Bytes(), []byte(`"size": 4096`), []byte(`"size": 8192`), 1)
	_, err = verify.ParseManifest(damaged)
	fmt.Println(transfer.CodeOf(err))
	// Output:
	// 4k 0 <nil>
	// invalid
}

// A chunk was read back with a wrong byte. The Comparer has the offset of the difference and the
// digest of the stored bytes.
func ExampleComparer() {
	written, stored := []byte("boot sector"), []byte("boot vector")
	c := verify.NewComparer()
	c.Reset(written)
	_, _ = c.Write(stored[:4])
	_, _ = c.Write(stored[4:])
	diff, equal := c.Equal()
	fmt.Println(diff, equal, c.Digest() == verify.Sum(stored))
	// Output: 5 false true
}
