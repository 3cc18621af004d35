package worker

import (
	"context"
	"iter"
	"slices"
	"sync"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/chunker"
	"github.com/transferd/transferd/internal/flow"
	"github.com/transferd/transferd/internal/lease"
	"github.com/transferd/transferd/internal/transfer"
)

// takeover is what an attempt must do after one that was lost: that one's worker neither handed the
// job over nor is proven to have ended, so what it sent may still arrive. Before the
// target is completed, the attempt waits until that is over, and reads back what was written
// before. It is safe for concurrent use.
type takeover struct {
	lease *lease.Lease

	mu    sync.Mutex
	known bool    // early has what was written since the attempt began, and before it
	early []int64 // chunks that were written before the wait was over, by index; may have some twice
}

// inherits notes what earlier attempts stored.
func (t *takeover) inherits(l *ledger) {
	if _, unclean := t.lease.Late(); unclean {
		t.known, t.early = true, l.indexes()
	}
}

// completes has what this attempt stored before it was known that bytes of another worker may
// arrive.
func (t *takeover) completes(l *ledger) {
	if !t.known {
		t.known, t.early = true, l.indexes()
	}
}

// writes notes a chunk that is about to be written.
func (t *takeover) writes(index int64) {
	if left, _ := t.lease.Late(); left == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.early = append(t.early, index)
}

// chunks is the chunks to read back: those written early for which keep reports true.
func (t *takeover) chunks(size int64, chunkSize int, keep func(index int64) bool) iter.Seq2[transfer.Extent, error] {
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.Sort(t.early)
	t.early = slices.Compact(t.early)
	early := slices.Clone(t.early)
	return func(yield func(transfer.Extent, error) bool) {
		for _, i := range early {
			if i >= transfer.ChunkCount(size, chunkSize) || !keep(i) {
				continue
			}
			c := transfer.ChunkAt(i, size, chunkSize)
			if !yield(transfer.Extent{Off: c.Off, Len: int64(c.Len)}, nil) {
				return
			}
		}
	}
}

// wait waits until bytes of a lost worker cannot arrive any more.
func (t *takeover) wait(ctx context.Context, drain <-chan struct{}, log *zap.Logger) error {
	for {
		left, _ := t.lease.Late()
		if left == 0 {
			return nil
		}
		log.Info("the worker before this one was lost, waiting until nothing it sent can arrive",
			zap.Duration("wait", left))
		if err := flow.Wait(ctx, drain, left); err != nil {
			return err
		}
	}
}

// finishTakeover waits until bytes of a lost worker cannot arrive any more, and reads back what was
// written before that, where nothing else does.
func (c *copier) finishTakeover(ctx context.Context) error {
	if _, unclean := c.takeover.lease.Late(); !unclean || !c.action.Writes {
		return nil
	}
	if err := c.takeover.wait(ctx, c.drain, c.log); err != nil {
		return err
	}
	if c.ends.readBack == nil || c.ends.traits.ReadBack != transfer.ReadBackAtOnce ||
		c.spec.Verify == transfer.VerifyFull && c.action.RereadsTarget {
		return nil // all of it is read back after this
	}
	c.takeover.completes(c.state.ledger)
	nonZero := c.state.ledger.nonZero(c.size, c.chunkSize)
	early := c.takeover.chunks(c.size, c.chunkSize, func(i int64) bool {
		_, ok := nonZero[i]
		return ok || !c.skipZeros
	})
	f := newPlanFeed(chunker.Plan(ctx, early, c.size, c.chunkSize, false), wholeImage)
	return c.run(ctx, f, c.repair, false)
}
