package vhd

import (
	"context"
	"iter"

	"github.com/transferd/transferd/internal/diskformat"
	"github.com/transferd/transferd/internal/transfer"
)

// fixed is the disk at the beginning of a file.
type fixed struct {
	footer
	file     diskformat.File
	diskSize int64
}

var (
	_ diskformat.Disk   = (*fixed)(nil)
	_ diskformat.Warner = (*fixed)(nil)
)

func openFixed(f diskformat.File, foot footer) (*fixed, error) {
	size, err := foot.diskSize(foot.off)
	return &fixed{footer: foot, file: f, diskSize: size}, err
}

// Size is the size of the disk in bytes.
func (d *fixed) Size() int64 { return d.diskSize }

// ReadAt fills p with the bytes of the disk at off.
func (d *fixed) ReadAt(ctx context.Context, p []byte, off int64) error {
	return d.file.ReadAt(ctx, p, off)
}

// Extents yields the extents of the file, if it knows them, and otherwise the whole disk.
func (d *fixed) Extents(ctx context.Context) iter.Seq2[transfer.Extent, error] {
	stored, ok := d.file.(diskformat.Disk)
	return func(yield func(transfer.Extent, error) bool) {
		if !ok {
			if d.diskSize > 0 {
				yield(transfer.Extent{Len: d.diskSize}, nil)
			}
			return
		}
		for e, err := range stored.Extents(ctx) {
			if err == nil && e.Off >= d.diskSize {
				return
			}
			e.Len = min(e.Len, d.diskSize-e.Off)
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}
