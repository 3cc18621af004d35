package vhd

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/transferd/transferd/internal/diskformat/disktest"
	"github.com/transferd/transferd/internal/transfertest"
)

// TestImagesOfQemuAreReadAsQemuReadsThem compares with qemu-img's raw conversion.
func TestImagesOfQemuAreReadAsQemuReadsThem(t *testing.T) {
	transfertest.RequireProgram(t, "qemu-img", "qemu-utils")
	const block = 2 << 20
	for _, size := range []int64{1, 511, 512, 513, block - 512, block, block + 512, 3*block + 1, 17 * block} {
		for _, options := range []string{
			"subformat=dynamic", "subformat=dynamic,force_size=on", "subformat=fixed", "subformat=fixed,force_size=on",
		} {
			testQemu(t, size, options)
		}
	}
	testQemu(t, 5<<30+512, "subformat=dynamic")
}

func testQemu(t *testing.T, size int64, options string) {
	t.Run(fmt.Sprint(size, " ", options), func(t *testing.T) {
		dir := t.TempDir()
		disktest.Sparse(t, filepath.Join(dir, "disk"), size)
		disktest.Run(t, dir, "qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", options, "disk", "image")
		disktest.Run(t, dir, "qemu-img", "convert", "-f", "vpc", "-O", "raw", "image", "raw")
		d, err := Open(t.Context(), disktest.Open(t, filepath.Join(dir, "image")))
		if err != nil {
			t.Fatal(err)
		}
		disktest.Equal(t, d, disktest.Open(t, filepath.Join(dir, "raw")), 1<<20+1)
	})
}

// TestEmptyDisksAreOpened: qemu-img makes images of 0 bytes.
func TestEmptyDisksAreOpened(t *testing.T) {
	transfertest.RequireProgram(t, "qemu-img", "qemu-utils")
	for _, options := range []string{"subformat=dynamic", "subformat=fixed"} {
		dir := t.TempDir()
		disktest.Run(t, dir, "qemu-img", "create", "-f", "vpc", "-o", options, "image", "0")
		d, err := Open(t.Context(), disktest.Open(t, filepath.Join(dir, "image")))
		if err != nil {
			t.Fatal(err)
		}
		disktest.Equal(t, d, disktest.Bytes(nil), 1)
	}
}
