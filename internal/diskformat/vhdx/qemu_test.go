package vhdx

import (
	"path/filepath"
	"testing"

	"github.com/transferd/transferd/internal/diskformat"
	"github.com/transferd/transferd/internal/diskformat/disktest"
	"github.com/transferd/transferd/internal/transfertest"
)

// TestImagesOfQemu: each kind of image that qemu-img writes has the content that qemu-img reads from
// it.
func TestImagesOfQemu(t *testing.T) {
	transfertest.RequireProgram(t, "qemu-img", "qemu-utils")
	const block = 1 << 20
	for _, size := range []int64{1, 511, 512, 513, block - 512, block, block + 512, 7*block + 1, 40 * block} {
		for _, options := range []string{
			"subformat=dynamic,block_size=1M", "subformat=dynamic", "subformat=dynamic,block_size=2M,log_size=2M",
			"subformat=fixed", "subformat=fixed,block_size=256M",
		} {
			disktest.Qemu(t, size, "vhdx", "-o "+options, openImage)
		}
	}
	// More than 4096 blocks: an entry of a bitmap is in the table.
	disktest.Qemu(t, 5<<30+512, "vhdx", "-o subformat=dynamic,block_size=1M", openImage)
}

func openImage(t testing.TB, path string) (diskformat.Disk, error) {
	return Open(t.Context(), disktest.Open(t, path))
}

// TestStatesOfUnwrittenBlocksAreRead: without block_state_zero, qemu-img leaves blocks out as not
// present.
func TestStatesOfUnwrittenBlocksAreRead(t *testing.T) {
	transfertest.RequireProgram(t, "qemu-img", "qemu-utils")
	for _, options := range []string{"block_state_zero=on", "block_state_zero=off"} {
		dir := t.TempDir()
		disktest.Run(t, dir, "qemu-img", "create", "-f", "vhdx", "-o", options, "image", "20M")
		d, err := openImage(t, filepath.Join(dir, "image"))
		if err != nil {
			t.Fatal(err)
		}
		disktest.Equal(t, d, disktest.Bytes(make([]byte, 20<<20)), 1<<20)
		if got := disktest.Extents(t, d); len(got) > 0 {
			t.Errorf("%s: got extents %v, want none", options, got)
		}
	}
}
