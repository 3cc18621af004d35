package vhd

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
	const block = 2 << 20
	for _, size := range []int64{1, 511, 512, 513, block - 512, block, block + 512, 3*block + 1, 17 * block} {
		for _, options := range []string{
			"subformat=dynamic", "subformat=dynamic,force_size=on", "subformat=fixed", "subformat=fixed,force_size=on",
		} {
			disktest.Qemu(t, size, "vpc", "-o "+options, openImage)
		}
	}
	disktest.Qemu(t, 5<<30+512, "vpc", "-o subformat=dynamic", openImage)
}

func openImage(t testing.TB, path string) (diskformat.Disk, error) {
	return Open(t.Context(), disktest.Open(t, path))
}

// TestEmptyDisksAreOpened: qemu-img makes images of 0 bytes.
func TestEmptyDisksAreOpened(t *testing.T) {
	transfertest.RequireProgram(t, "qemu-img", "qemu-utils")
	for _, options := range []string{"subformat=dynamic", "subformat=fixed"} {
		dir := t.TempDir()
		disktest.Run(t, dir, "qemu-img", "create", "-f", "vpc", "-o", options, "image", "0")
		d, err := openImage(t, filepath.Join(dir, "image"))
		if err != nil {
			t.Fatal(err)
		}
		disktest.Equal(t, d, disktest.Bytes(nil), 1)
	}
}
