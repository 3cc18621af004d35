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

// Extents yields the ranges of the blocks that are stored, without the holes of the file.
func (b *Blocks) Extents(ctx context.Context) iter.Seq2[transfer.Extent, error] {
	return func(yield func(transfer.Extent, error) bool) {
		j := NewJoiner(yield)
		j.End(b.extents(ctx, j))
	}
}

func (b *Blocks) extents(ctx context.Context, j *Joiner) error {
	for off := int64(0); off < b.DiskSize && !j.Stopped(); {
		if err := ctx.Err(); err != nil {
			return err
		}
		run, err := b.Find(ctx, off/b.BlockSize)
		if err != nil {
			return err
		}
		n := min(run.Blocks*b.BlockSize, b.DiskSize-off)
		if run.Stored {
			if err := j.AddStored(ctx, b.File, transfer.Extent{Off: off, Len: n}, run.Off); err != nil {
				return err
			}
		}
		off += n
	}
	return nil
}
