package qcow2

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
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
			return &diskformat.Blocks{
				File: f, DiskSize: f.Size(), BlockSize: 512,
				Find: func(_ context.Context, block int64) (diskformat.Run, error) {
					return diskformat.Run{Blocks: 1, Stored: true, Off: block * 512}, nil
				},
			}, nil
		}
		return Open(ctx, f, open)
	}
	return open
}

func openImage(t testing.TB, dir, name string) diskformat.Disk {
	t.Helper()
	d, err := Open(t.Context(), disktest.Open(t, filepath.Join(dir, name)), filesIn(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// writeRaw makes a sparse file of size bytes. Of its pieces of 4 KiB, in runs of random lengths,
// some are random, some are text, which compresses, and some are holes.
func writeRaw(t testing.TB, path string, size int64, seed uint64) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(seed, uint64(size)))
	const piece = 4 << 10
	for off := int64(0); off < size; {
		p := make([]byte, min(piece*(1+r.Int64N(40)), size-off))
		switch r.IntN(3) {
		case 0:
			off += int64(len(p)) * (1 + r.Int64N(1+size>>24))
			continue
		case 1:
			for i := range p {
				p[i] = byte(r.Uint32())
			}
		case 2:
			for i := range p {
				p[i] = "some text "[i%10] + byte(r.Uint32()&1)
			}
		}
		if _, err := f.WriteAt(p, off); err != nil {
			t.Fatal(err)
		}
		off += int64(len(p))
	}
}

// options are those of qemu-img convert for the kinds of image that it writes.
var options = [][]string{
	{"-o", "compat=0.10"}, {"-o", "compat=1.1"}, {"-o", "lazy_refcounts=on"}, {"-o", "refcount_bits=1"},
	{"-o", "cluster_size=512"}, {"-o", "cluster_size=4k"}, {"-o", "cluster_size=2M"},
	{"-o", "compat=0.10,cluster_size=512"}, {"-o", "extended_l2=on"}, {"-o", "extended_l2=on,cluster_size=16k"},
	{"-o", "extended_l2=on,cluster_size=2M"}, {"-o", "preallocation=metadata"}, {"-o", "preallocation=falloc"},
	{"-o", "preallocation=metadata,extended_l2=on"},
	{"-c"}, {"-c", "-o", "cluster_size=512"}, {"-c", "-o", "cluster_size=4k"}, {"-c", "-o", "cluster_size=2M"},
	{"-c", "-o", "compat=0.10"}, {"-c", "-o", "compression_type=zstd"},
	{"-c", "-o", "compression_type=zstd,cluster_size=2M"}, {"-c", "-o", "compression_type=zstd,cluster_size=4k"},
	{"-c", "-o", "extended_l2=on"}, {"-c", "-o", "extended_l2=on,compression_type=zstd"},
}

// TestImagesOfQemu: each kind of image that qemu-img writes has the content of qemu-img's own raw
// conversion.
func TestImagesOfQemu(t *testing.T) {
	requireQemu(t)
	dir := t.TempDir()
	for _, size := range []int64{0, 1, 513, 64 << 10, 64<<10 + 1, 3<<20 + 1000, 20<<20 + 512} {
		writeRaw(t, filepath.Join(dir, "disk.img"), size, 1)
		for _, option := range options {
			compareWithQemu(t, dir, size, option, 1<<20, 100_003)
		}
	}
	const large = 5 << 30
	writeRaw(t, filepath.Join(dir, "disk.img"), large, 1)
	for _, option := range [][]string{{}, {"-c", "-o", "compression_type=zstd"}, {"-o", "extended_l2=on"}} {
		compareWithQemu(t, dir, large, option, 4<<20)
	}
}

// compareWithQemu converts disk.img, which has size bytes, to qcow2, and reads it in pieces of each
// of the steps.
func compareWithQemu(t *testing.T, dir string, size int64, option []string, steps ...int) {
	t.Run(fmt.Sprintf("%d bytes %v", size, option), func(t *testing.T) {
		args := append([]string{"convert", "-f", "raw", "-O", "qcow2"}, option...)
		disktest.Run(t, dir, "qemu-img", append(args, "disk.img", "x.qcow2")...)
		disktest.Run(t, dir, "qemu-img", "convert", "-f", "qcow2", "-O", "raw", "x.qcow2", "back.img")
		want := disktest.Open(t, filepath.Join(dir, "back.img"))
		for _, step := range steps {
			disktest.Equal(t, openImage(t, dir, "x.qcow2"), want, step)
		}
	})
}

// TestReadsAtOnce: many goroutines read compressed clusters at once, whole ones and parts of them.
func TestReadsAtOnce(t *testing.T) {
	requireQemu(t)
	dir := t.TempDir()
	const size = 4 << 20
	writeRaw(t, filepath.Join(dir, "disk.img"), size, 5)
	want, err := os.ReadFile(filepath.Join(dir, "disk.img"))
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"zlib", "zstd"} {
		disktest.Run(t, dir, "qemu-img", "convert", "-O", "qcow2", "-c", "-o", "compression_type="+kind, "disk.img", "x.qcow2")
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
