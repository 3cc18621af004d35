package qcow2

import (
	"context"
	"iter"

	"github.com/transferd/transferd/internal/diskformat"
	"github.com/transferd/transferd/internal/transfer"
)

// merger yields extents, adjacent ones as one.
type merger struct {
	yield   func(transfer.Extent, error) bool
	pending transfer.Extent // not yet yielded; empty: none
	stopped bool            // yield returned false; it is not called again
}

func (m *merger) add(e transfer.Extent) {
	if m.pending.Len > 0 && m.pending.Off+m.pending.Len == e.Off {
		m.pending.Len += e.Len
		return
	}
	m.flush()
	m.pending = e
}

func (m *merger) flush() {
	if m.pending.Len > 0 && !m.stopped {
		m.stopped = !m.yield(m.pending, nil)
	}
	m.pending = transfer.Extent{}
}

func (m *merger) fail(err error) {
	if !m.stopped {
		m.yield(transfer.Extent{}, err)
	}
}

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
func (b *backingExtents) within(off, end int64, out *merger) error {
	for !out.stopped {
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
		out.add(transfer.Extent{Off: from, Len: to - from})
		off = to
	}
	return nil
}
