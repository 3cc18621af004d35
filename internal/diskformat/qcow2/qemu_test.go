package qcow2

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/transferd/transferd/internal/diskformat"
	"github.com/transferd/transferd/internal/diskformat/disktest"
	"github.com/transferd/transferd/internal/transfertest"
)

func requireQemu(t testing.TB) {
	t.Helper()
	transfertest.RequireProgram(t, "qemu-img", "qemu-utils")
}

// noFiles is an Opener for images that name no other file.
func noFiles(_ context.Context, name, _ string) (diskformat.Disk, error) {
	return nil, diskformat.Damaged("it names the file %q", name)
}

// filesIn is an Opener of files in a folder, qcow2 or raw.
func filesIn(t testing.TB, dir string) diskformat.Opener {
	var open diskformat.Opener
	open = func(ctx context.Context, name, format string) (diskformat.Disk, error) {
		f := disktest.Open(t, filepath.Join(dir, name))
		if format == diskformat.Raw {
			return f, nil
		}
		return Open(ctx, f, open)
	}
	return open
}

// openFile opens the image at path, which may name files in its folder.
func openFile(t testing.TB, path string) (diskformat.Disk, error) {
	return Open(t.Context(), disktest.Open(t, path), filesIn(t, filepath.Dir(path)))
}

func openImage(t testing.TB, dir, name string) diskformat.Disk {
	t.Helper()
	d, err := openFile(t, filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// options are those of qemu-img convert for the kinds of image that it writes.
var options = []string{
	"-o compat=0.10", "-o compat=1.1", "-o lazy_refcounts=on", "-o refcount_bits=1",
	"-o cluster_size=512", "-o cluster_size=4k", "-o cluster_size=2M",
	"-o compat=0.10,cluster_size=512", "-o extended_l2=on", "-o extended_l2=on,cluster_size=16k",
	"-o extended_l2=on,cluster_size=2M", "-o preallocation=metadata", "-o preallocation=falloc",
	"-o preallocation=metadata,extended_l2=on",
	"-c", "-c -o cluster_size=512", "-c -o cluster_size=4k", "-c -o cluster_size=2M",
	"-c -o compat=0.10", "-c -o compression_type=zstd",
	"-c -o compression_type=zstd,cluster_size=2M", "-c -o compression_type=zstd,cluster_size=4k",
	"-c -o extended_l2=on", "-c -o extended_l2=on,compression_type=zstd",
}

// TestImagesOfQemu: each kind of image that qemu-img writes has the content that qemu-img reads from
// it.
func TestImagesOfQemu(t *testing.T) {
	requireQemu(t)
	for _, size := range []int64{0, 1, 513, 64 << 10, 64<<10 + 1, 3<<20 + 1000, 20<<20 + 512} {
		for _, option := range options {
			disktest.Qemu(t, size, "qcow2", option, openFile)
		}
	}
	for _, option := range []string{"", "-c -o compression_type=zstd", "-o extended_l2=on"} {
		disktest.Qemu(t, 5<<30, "qcow2", option, openFile)
	}
}

// TestReadsAtOnce: many goroutines read compressed clusters at once, whole ones and parts of them.
func TestReadsAtOnce(t *testing.T) {
	requireQemu(t)
	dir := t.TempDir()
	const size = 4 << 20
	disktest.Raw(t, filepath.Join(dir, "disk.img"), size, 5)
	want, err := os.ReadFile(filepath.Join(dir, "disk.img"))
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"zlib", "zstd"} {
		disktest.Run(t, dir, "qemu-img", "convert", "-O", "qcow2", "-c", "-o", "compression_type="+kind,
			"disk.img", "x.qcow2")
		d := openImage(t, dir, "x.qcow2")
		var g errgroup.Group
		for i := range int64(8) {
			g.Go(func() error {
				for off := i * 1000; off < size; off += 300_000 {
					p := make([]byte, min(200_000, size-off))
					if err := d.ReadAt(t.Context(), p, off); err != nil {
						return err
					}
					if !bytes.Equal(p, want[off:off+int64(len(p))]) {
						return fmt.Errorf("%s: got other bytes at %d", kind, off)
					}
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
	}
}
