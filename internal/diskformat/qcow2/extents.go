package qcow2

import (
	"context"
	"iter"

	"github.com/transferd/transferd/internal/diskformat"
	"github.com/transferd/transferd/internal/transfer"
)

// backingExtents are the extents of the backing file, in order.
type backingExtents struct {
	next    func() (transfer.Extent, error, bool)
	stop    func()
	current transfer.Extent // the first one that has not been passed; empty: unknown
}

func newBackingExtents(ctx context.Context, backing diskformat.Disk) *backingExtents {
	if backing == nil {
		return &backingExtents{stop: func() {}}
	}
	b := &backingExtents{}
	b.next, b.stop = iter.Pull2(backing.Extents(ctx))
	return b
}

// within adds the parts of the extents from off to end. Each call begins where the last one ended,
// or later.
func (b *backingExtents) within(off, end int64, out *diskformat.Joiner) error {
	for !out.Stopped() {
		if b.current.Off+b.current.Len <= off {
			e, err, ok := b.next()
			if err != nil || !ok {
				return err
			}
			b.current = e
			continue
		}
		from, to := max(off, b.current.Off), min(end, b.current.Off+b.current.Len)
		if from >= to {
			return nil
		}
		out.Add(transfer.Extent{Off: from, Len: to - from})
		off = to
	}
	return nil
}
