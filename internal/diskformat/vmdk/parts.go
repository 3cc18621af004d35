package vmdk

import (
	"context"
	"iter"

	"github.com/transferd/transferd/internal/diskformat"
	"github.com/transferd/transferd/internal/transfer"
)

// parts is a disk of several disks, one after the other.
type parts []part

type part struct {
	diskformat.Disk
	off int64 // of its first byte
}

// Size is the size of the disk in bytes.
func (p parts) Size() int64 {
	if len(p) == 0 {
		return 0
	}
	last := p[len(p)-1]
	return last.off + last.Size()
}

// ReadAt fills b with the bytes of the disk at off.
func (p parts) ReadAt(ctx context.Context, b []byte, off int64) error {
	for _, part := range p {
		within := off - part.off
		if len(b) == 0 || within >= part.Size() {
			continue
		}
		n := min(int64(len(b)), part.Size()-within)
		if err := part.ReadAt(ctx, b[:n], within); err != nil {
			return err
		}
		b, off = b[n:], off+n
	}
	return nil
}

// Extents yields the ranges of the parts that may hold data.
func (p parts) Extents(ctx context.Context) iter.Seq2[transfer.Extent, error] {
	return func(yield func(transfer.Extent, error) bool) {
		for _, part := range p {
			for e, err := range part.Extents(ctx) {
				e.Off += part.off
				if !yield(e, err) || err != nil {
					return
				}
			}
		}
	}
}

// window is a range of another disk.
type window struct {
	diskformat.Disk
	off, size int64 // in bytes
}

// Size is the size of the range in bytes.
func (w *window) Size() int64 { return w.size }

// ReadAt fills p with the bytes of the range at off.
func (w *window) ReadAt(ctx context.Context, p []byte, off int64) error {
	return w.Disk.ReadAt(ctx, p, w.off+off)
}

// Extents yields what is in the range of the extents of the other disk.
func (w *window) Extents(ctx context.Context) iter.Seq2[transfer.Extent, error] {
	return func(yield func(transfer.Extent, error) bool) {
		for e, err := range w.Disk.Extents(ctx) {
			start, end := max(e.Off-w.off, 0), min(e.Off-w.off+e.Len, w.size)
			if err == nil && start >= end {
				continue
			}
			if !yield(transfer.Extent{Off: start, Len: end - start}, err) || err != nil {
				return
			}
		}
	}
}

// zeros is a disk of zeros, of that many bytes.
type zeros int64

// Size is the size of the disk in bytes.
func (z zeros) Size() int64 { return int64(z) }

// ReadAt fills p with zeros.
func (z zeros) ReadAt(_ context.Context, p []byte, _ int64) error {
	clear(p)
	return nil
}

// Extents yields none.
func (z zeros) Extents(context.Context) iter.Seq2[transfer.Extent, error] {
	return func(func(transfer.Extent, error) bool) {}
}
