package qcow2

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

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
				p[i] = byte("some text "[i%10]) + byte(r.Uint32()&1)
			}
		}
		if _, err := f.WriteAt(p, off); err != nil {
			t.Fatal(err)
		}
		off += int64(len(p))
	}
}

// TestImagesOfQemu: each kind of image that qemu-img writes has the content of qemu-img's own raw
// conversion.
func TestImagesOfQemu(t *testing.T) {
	requireQemu(t)
	options := []string{
		"compat=0.10", "compat=1.1", "compat=1.1,lazy_refcounts=on", "compat=1.1,refcount_bits=1",
		"cluster_size=512", "cluster_size=4k", "cluster_size=2M", "compat=0.10,cluster_size=512",
		"extended_l2=on", "extended_l2=on,cluster_size=16k", "extended_l2=on,cluster_size=2M",
		"preallocation=metadata", "preallocation=falloc", "preallocation=metadata,extended_l2=on",
		"-c", "-c cluster_size=512", "-c cluster_size=4k", "-c cluster_size=2M", "-c compat=0.10",
		"-c compression_type=zstd", "-c compression_type=zstd,cluster_size=2M", "-c compression_type=zstd,cluster_size=4k",
		"-c extended_l2=on", "-c extended_l2=on,compression_type=zstd",
	}
	dir := t.TempDir()
	for _, size := range []int64{0, 1, 511, 512, 513, 64<<10 - 1, 64 << 10, 64<<10 + 1, 3<<20 + 1000, 40<<20 + 512} {
		raw := fmt.Sprintf("%d.img", size)
		writeRaw(t, filepath.Join(dir, raw), size, 1)
		for _, option := range options {
			t.Run(fmt.Sprintf("%d %s", size, option), func(t *testing.T) {
				args := []string{"convert", "-f", "raw", "-O", "qcow2"}
				if len(option) >= 2 && option[:2] == "-c" {
					args, option = append(args, "-c"), option[2:]
				}
				if option != "" {
					args = append(args, "-o", trim(option))
				}
				disktest.Run(t, dir, "qemu-img", append(args, raw, "x.qcow2")...)
				disktest.Run(t, dir, "qemu-img", "convert", "-f", "qcow2", "-O", "raw", "x.qcow2", "back.img")
				want := disktest.Open(t, filepath.Join(dir, "back.img"))
				for _, step := range []int{1 << 20, 100_003} {
					disktest.Equal(t, openImage(t, dir, "x.qcow2"), want, step)
				}
			})
		}
	}
}

func trim(s string) string {
	for len(s) > 0 && s[0] == ' ' {
		s = s[1:]
	}
	return s
}
