package image

import (
	"context"
	"errors"
	"fmt"

	"github.com/transferd/transferd/internal/diskformat"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/verify"
)

// verifyDisk reads a virtual disk that this program wrote, and compares its chunks with a manifest.
// It does not read what is not stored. A difference is CodeMismatch.
func verifyDisk(ctx context.Context, op string, f diskformat.File, format *format, m *transfer.Manifest) error {
	d, err := format.disk(ctx, f, noOtherFile)
	if err != nil {
		return readError(op, 0, err)
	}
	if d.Size() != m.Size {
		return mismatch(op, min(d.Size(), m.Size),
			fmt.Errorf("%s are stored, and %d were written", transfer.Count(d.Size(), "byte"), m.Size))
	}
	c := &diskComparison{op: op, disk: d, manifest: m, buf: make([]byte, m.ChunkSize)}
	var next int64
	for e, err := range d.Extents(ctx) {
		if err != nil {
			return readError(op, next*int64(m.ChunkSize), err)
		}
		for i := max(next, e.Off/int64(m.ChunkSize)); i*int64(m.ChunkSize) < e.Off+e.Len; i++ {
			next = i + 1
			if err := c.compare(ctx, i); err != nil {
				return err
			}
		}
	}
	if c.found == len(m.Chunks) {
		return nil
	}
	for i := range verify.Ascending(m.Chunks) { // one of them is not stored
		if err := c.compare(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// diskComparison compares chunks of a disk with a manifest.
type diskComparison struct {
	op       string
	disk     diskformat.Disk
	manifest *transfer.Manifest
	buf      []byte
	found    int // chunks of the manifest that were equal
}

func (d *diskComparison) compare(ctx context.Context, i int64) error {
	c := transfer.ChunkAt(i, d.manifest.Size, d.manifest.ChunkSize)
	p := d.buf[:c.Len]
	err := ctx.Err()
	if err == nil {
		err = d.disk.ReadAt(ctx, p, c.Off)
	}
	if err != nil {
		return readError(d.op, c.Off, err)
	}
	want, ok := d.manifest.Chunks[i]
	if !ok {
		want = verify.ZeroDigest(c.Len)
	}
	if got := verify.Sum(p); got != want {
		return mismatch(d.op, c.Off,
			fmt.Errorf("the digest of chunk %d is %s in the file, and %s of what was written", i, got, want))
	}
	if ok {
		d.found++
	}
	return nil
}

// noOtherFile is the opener for disks that name no other file.
func noOtherFile(_ context.Context, name, _ string) (diskformat.Disk, error) {
	return nil, diskformat.Damaged("it names the file %q", name)
}

// onDisk is a file that is read from its disk, and not from the page cache.
type onDisk struct {
	*diskReader
	size int64
}

var _ diskformat.File = onDisk{}

// Size is the size of the file in bytes.
func (f onDisk) Size() int64 { return f.size }

// ReadAt reads from the disk.
func (f onDisk) ReadAt(ctx context.Context, p []byte, off int64) error {
	if off < 0 || off > f.size-int64(len(p)) {
		return diskformat.Damaged("%s at byte %d are not in the file", transfer.Count(int64(len(p)), "byte"), off)
	}
	n := 0
	err := f.read(ctx, off, off+int64(len(p)), func(b []byte) error {
		n += copy(p[n:], b)
		return nil
	})
	if err != nil && !errors.Is(err, ctx.Err()) {
		return fileErrorAt("read", off+int64(n), err)
	}
	return err
}
