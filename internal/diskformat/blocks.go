package diskformat

import (
	"context"
	"iter"

	"github.com/transferd/transferd/internal/transfer"
)

// Run is a number of consecutive blocks of a disk that are stored one after the other, or that are
// all zeros.
type Run struct {
	Blocks int64 // at least 1
	Stored bool  // false: the blocks are zeros
	Off    int64 // of the first block in the file, in bytes, if they are stored
}

// Blocks is a Disk of blocks of one size. The last one may be shorter than the others.
type Blocks struct {
	File      File
	DiskSize  int64 // in bytes
	BlockSize int64 // in bytes
	// Find returns a run that begins with a block. It may return less than the longest run. Many
	// goroutines call it at once.
	Find func(ctx context.Context, block int64) (Run, error)
}

var _ Disk = (*Blocks)(nil)

// Size is the size of the disk in bytes.
func (b *Blocks) Size() int64 { return b.DiskSize }

// ReadAt fills p with the bytes of the disk at off.
func (b *Blocks) ReadAt(ctx context.Context, p []byte, off int64) error {
	for len(p) > 0 {
		run, err := b.Find(ctx, off/b.BlockSize)
		if err != nil {
			return err
		}
		within := off % b.BlockSize
		n := int(min(int64(len(p)), run.Blocks*b.BlockSize-within))
		if !run.Stored {
			clear(p[:n])
		} else if err := b.File.ReadAt(ctx, p[:n], run.Off+within); err != nil {
			return err
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// Extents yields the ranges of the blocks that are stored.
func (b *Blocks) Extents(ctx context.Context) iter.Seq2[transfer.Extent, error] {
	return func(yield func(transfer.Extent, error) bool) {
		var data transfer.Extent // not yet yielded: the next run may continue it
		for off := int64(0); off < b.DiskSize; {
			run, err := b.Find(ctx, off/b.BlockSize)
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(transfer.Extent{}, err)
				return
			}
			n := min(run.Blocks*b.BlockSize, b.DiskSize-off)
			switch {
			case run.Stored && data.Len > 0:
				data.Len += n
			case run.Stored:
				data = transfer.Extent{Off: off, Len: n}
			case data.Len > 0:
				if !yield(data, nil) {
					return
				}
				data = transfer.Extent{}
			}
			off += n
		}
		if data.Len > 0 {
			yield(data, nil)
		}
	}
}
