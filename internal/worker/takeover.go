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

// takeover is the state of an attempt that follows a lost worker. That worker has neither handed
// the job over nor provably ended, so bytes that it sent may still arrive at the drive. Before the
// attempt completes the target, it waits until they cannot arrive any more, and reads back what was
// written before that. It is safe for concurrent use.
type takeover struct {
	lease *lease.Lease

	mu       sync.Mutex
	complete bool    // early has all chunks stored before the wait was over, in earlier attempts too
	early    []int64 // indexes of chunks written before the wait was over; may have duplicates
}

// addInherited adds the chunks of earlier attempts.
func (t *takeover) addInherited(l *ledger) {
	if _, unclean := t.lease.Late(); unclean {
		t.complete, t.early = true, l.indexes()
	}
}

// addStored adds all chunks in the ledger, if the attempt learned only later that bytes of a lost
// worker may arrive.
func (t *takeover) addStored(l *ledger) {
	if !t.complete {
		t.complete, t.early = true, l.indexes()
	}
}

// noteWrite records a chunk that is about to be written, if late bytes may still arrive.
func (t *takeover) noteWrite(index int64) {
	if left, _ := t.lease.Late(); left == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.early = append(t.early, index)
}

// chunks returns the chunks to read back, as extents: those written early for which keep returns
// true.
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

// wait waits until bytes of the lost worker cannot arrive any more. The caller then reads back what
// is stored.
func (t *takeover) wait(ctx context.Context, drain <-chan struct{}, log *zap.Logger) error {
	for {
		left := t.lease.Settle()
		if left == 0 {
			return nil
		}
		log.Info("previous worker was lost, waiting until its writes cannot arrive any more",
			zap.Duration("wait", left))
		if err := flow.Wait(ctx, drain, left); err != nil {
			return err
		}
	}
}

// finishTakeover waits until bytes of a lost worker cannot arrive any more. Then it reads back the
// chunks that were written before, unless a later step reads all chunks.
func (c *copier) finishTakeover(ctx context.Context) error {
	if _, unclean := c.takeover.lease.Late(); !unclean || !c.action.Writes {
		return nil
	}
	if err := c.takeover.wait(ctx, c.drain, c.log); err != nil {
		return err
	}
	if c.ends.readBack == nil || c.ends.traits.ReadBack != transfer.ReadBackAtOnce ||
		c.spec.Verify == transfer.VerifyFull && c.action.RereadsTarget {
		return nil // a later step reads back everything
	}
	c.takeover.addStored(c.state.ledger)
	nonZero := c.state.ledger.nonZero(c.size, c.chunkSize)
	early := c.takeover.chunks(c.size, c.chunkSize, func(i int64) bool {
		_, ok := nonZero[i]
		return ok || !c.skipZeros
	})
	chunks := newMappedChunks(chunker.Chunks(ctx, early, c.size, c.chunkSize, false), wholeImage)
	return c.runLanes(ctx, chunks, c.verifyAndRepair, false)
}
