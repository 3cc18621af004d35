package vmdk_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/transferd/transferd/internal/diskformat"
	"github.com/transferd/transferd/internal/diskformat/disktest"
	"github.com/transferd/transferd/internal/diskformat/vmdk"
	"github.com/transferd/transferd/internal/transfertest"
)

const grain = 64 << 10

// open opens the image at path, which may name other files of its folder.
func open(t testing.TB, path string) (diskformat.Disk, error) {
	return vmdk.Open(t.Context(), disktest.Open(t, path), folder(t, filepath.Dir(path)))
}

// folder opens the files of a folder.
func folder(t testing.TB, dir string) diskformat.Opener {
	return func(_ context.Context, name, _ string) (diskformat.Disk, error) {
		return disktest.Open(t, filepath.Join(dir, filepath.Base(name))), nil
	}
}

// TestImagesOfQemu: each kind of image that is read, as qemu-img writes it, has the content that
// qemu-img reads from it.
func TestImagesOfQemu(t *testing.T) {
	transfertest.RequireProgram(t, "qemu-img", "qemu-utils")
	sizes := []int64{1, 511, 512, 513, grain - 1, grain, grain + 1, 10*grain + 5, 512*grain - 1, 512*grain + grain/2}
	for _, options := range []string{
		"subformat=monolithicSparse", "subformat=streamOptimized", "subformat=monolithicFlat",
		"subformat=monolithicSparse,zeroed_grain=on", "subformat=monolithicSparse,compat6=on",
		"subformat=streamOptimized,adapter_type=lsilogic",
	} {
		for _, size := range sizes {
			disktest.Qemu(t, size, "vmdk", "-o "+options, open)
		}
	}
	for _, subformat := range []string{"monolithicSparse", "streamOptimized", "monolithicFlat"} {
		disktest.Qemu(t, 5<<30, "vmdk", "-o subformat="+subformat, open)
	}
}

// TestImagesOfQemuInAnyOrder: grains that several threads wrote lie in the order of their ends.
func TestImagesOfQemuInAnyOrder(t *testing.T) {
	transfertest.RequireProgram(t, "qemu-img", "qemu-utils")
	dir := t.TempDir()
	raw := disktest.Raw(t, filepath.Join(dir, "disk.raw"), 100<<20, 1)
	for _, subformat := range []string{"monolithicSparse", "streamOptimized"} {
		disktest.Run(t, dir, "qemu-img", "convert", "-q", "-W", "-m", "8", "-O", "vmdk",
			"-o", "subformat="+subformat, "disk.raw", "disk.vmdk")
		disk, err := open(t, filepath.Join(dir, "disk.vmdk"))
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range []int{4 << 20, 100_000} {
			disktest.Equal(t, disk, raw, step)
		}
	}
}

// TestEmptyImagesOfQemu: disks of 0 bytes are read, also those that qemu-img itself cannot read.
func TestEmptyImagesOfQemu(t *testing.T) {
	transfertest.RequireProgram(t, "qemu-img", "qemu-utils")
	dir := t.TempDir()
	for _, subformat := range []string{"monolithicSparse", "streamOptimized", "monolithicFlat"} {
		disktest.Run(t, dir, "qemu-img", "create", "-q", "-f", "vmdk", "-o", "subformat="+subformat, "disk.vmdk", "0")
		disk, err := open(t, filepath.Join(dir, "disk.vmdk"))
		if err != nil {
			t.Fatalf("%s: got %v, want a disk of 0 bytes", subformat, err)
		}
		disktest.Equal(t, disk, disktest.Bytes(nil), 1)
	}
}

// TestImagesOfQemuThatAreRefused: disks of several files and differences are refused, with the
// command.
func TestImagesOfQemuThatAreRefused(t *testing.T) {
	transfertest.RequireProgram(t, "qemu-img", "qemu-utils")
	dir := t.TempDir()
	disktest.Run(t, dir, "qemu-img", "create", "-q", "-f", "vmdk", "base.vmdk", "1M")
	for name, args := range map[string]string{
		"sparse.vmdk": "-o subformat=twoGbMaxExtentSparse", "flat.vmdk": "-o subformat=twoGbMaxExtentFlat",
		"child.vmdk": "-b base.vmdk -F vmdk",
	} {
		args := append([]string{"create", "-q", "-f", "vmdk"}, strings.Fields(args)...)
		disktest.Run(t, dir, "qemu-img", append(args, name, "3G")...)
	}
	for name, words := range map[string]string{
		"sparse.vmdk": "twoGbMaxExtentSparse", "flat.vmdk": "twoGbMaxExtentFlat",
		"child.vmdk": `parent "base.vmdk"`, "sparse-s001.vmdk": "only a part of a disk",
	} {
		_, err := open(t, filepath.Join(dir, name))
		disktest.Refused(t, err, words, "qemu-img convert -O raw")
	}
}
