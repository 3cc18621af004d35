package worker

import (
	"context"
	"iter"
	"math/rand/v2"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/chunker"
	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/verify"
)

// zeroSample is at how many of the places that were never written a finished job looks for zeros, and
// sampleSize how many bytes it reads there.
const (
	zeroSample = 16
	sampleSize = 64 << 10
)

// verify proves what --verify asks for beyond the chunks that were read back as they were written.
func (c *copier) verify(ctx context.Context) error {
	mode := c.spec.Verify
	switch {
	case c.ends.readBack == nil || mode == transfer.VerifyNone:
		return nil
	case !c.action.Writes:
		return c.tailIsZero(ctx, c.action.EndpointCopies && mode == transfer.VerifyWritten)
	case c.ends.traits.ReadBack == transfer.ReadBackAfterFlush:
		return c.readBackFlushed(ctx)
	case c.ends.traits.ReadBack != transfer.ReadBackAtOnce:
		return nil // in the commit, or after it
	case mode == transfer.VerifyWritten:
		if err := c.checkZeros(ctx); err != nil {
			return err
		}
		return c.verifyTail(ctx, true)
	}
	if err := c.flush(ctx); err != nil { // before the disk is read
		return err
	}
	if err := c.run(ctx, c.everything(ctx), c.counted(c.verifyChunk), false); err != nil || !c.action.RereadsTarget {
		return err
	}
	return c.verifyTail(ctx, false)
}

// bytesAfterImage is what is cleared or read after the chunks of the image, bytes.
func (c *copier) bytesAfterImage() (n int64) {
	if c.clearsTail() {
		n = c.tailLen()
	}
	full := c.spec.Verify == transfer.VerifyFull
	switch {
	case c.ends.readBack == nil || c.ends.traits.ReadBack != transfer.ReadBackAtOnce:
		return n
	case !c.action.Writes && (full || c.spec.Verify == transfer.VerifyWritten && !c.action.EndpointCopies):
		return c.tailLen()
	case !c.action.Writes || !full:
		return n
	case c.action.RereadsTarget && !c.spec.KeepTail:
		return n + c.size + c.tailLen()
	}
	return n + c.size
}

// counted is a step of a pass after the copy, whose bytes count as they are done.
func (c *copier) counted(step stepFunc) stepFunc {
	return func(ctx context.Context, w work, l *lane) error {
		err := step(ctx, w, l)
		if err == nil {
			c.state.update(func(n *transfer.Progress) { n.Bytes.Done += int64(w.Len) })
		}
		return err
	}
}

// verified reports whether all that the job stored or compared has been read back.
func (c *copier) verified() bool {
	switch c.ends.traits.ReadBack {
	case transfer.ReadBackInCommit:
		return true
	case transfer.ReadBackAfterFlush, transfer.ReadBackAfterCommit:
		return c.spec.Verify != transfer.VerifyNone
	}
	return c.each
}

// everything is the plan of all chunks of the image.
func (c *copier) everything(ctx context.Context) feed {
	whole := extentsOf(transfer.Extent{Len: c.size})
	return newPlanFeed(chunker.Plan(ctx, whole, c.size, c.chunkSize, false), wholeImage)
}

func extentsOf(e transfer.Extent) iter.Seq2[transfer.Extent, error] {
	return func(yield func(transfer.Extent, error) bool) { yield(e, nil) }
}

// verifyChunk reads a chunk again from the ends where that shows a fault that nothing else does.
func (c *copier) verifyChunk(ctx context.Context, w work, l *lane) error {
	if c.action.RereadsSource {
		if err := c.readAgain(ctx, w, l); err != nil {
			return err
		}
	}
	if !c.action.RereadsTarget {
		return nil
	}
	return c.repair(ctx, w, l)
}

func (c *copier) expectedDigest(w work) transfer.Digest {
	if d, ok := c.state.ledger.get(w.Index); ok {
		return d
	}
	return verify.ZeroDigest(w.Len)
}

// readBackAgain reads one chunk of the finished target, and stores it again if it is not as it was;
// mended says so.
func (c *copier) readBackAgain(ctx context.Context, w work, l *lane) (mended bool, err error) {
	want := expected{digest: c.expectedDigest(w)}
	zero := want.digest == verify.ZeroDigest(w.Len)
	if c.ends.random == nil && !zero {
		return false, c.judge(ctx, w.Chunk, want, l) // its bytes are not to be had again
	}
	_, err = c.readStored(ctx, w.Chunk, want, l)
	if mended = transfer.CodeOf(err) == transfer.CodeMismatch; mended {
		err = c.mend(ctx, w, want.digest, l)
	}
	if err == nil && c.each && c.skipZeros && zero {
		c.state.update(func(n *transfer.Progress) { n.Chunks.Verified++ }) // it was not written, and so not read back before
	}
	return mended, err
}

// repair is readBackAgain as a step.
func (c *copier) repair(ctx context.Context, w work, l *lane) error {
	_, err := c.readBackAgain(ctx, w, l)
	return err
}

// mend stores a chunk again whose digest was d. A source that differs from d is read until two
// reads agree: one that is wrong must not replace what is right.
func (c *copier) mend(ctx context.Context, w work, d transfer.Digest, l *lane) error {
	p := l.buf[:w.Len]
	if d == verify.ZeroDigest(w.Len) {
		clear(p)
	} else if _, err := c.confirm(ctx, w, l, d); err != nil {
		return err
	}
	if err := c.storeAgain(ctx, w, p, l); err != nil || c.ends.disk == nil {
		return err
	}
	_, err := c.readStored(ctx, w.Chunk, expected{digest: c.expectedDigest(w)}, l)
	return err
}

func (c *copier) storeAgain(ctx context.Context, w work, p []byte, l *lane) error {
	d, err := c.store(ctx, w, p, l)
	if err == nil {
		c.state.ledger.mark(w.Index, d)
	}
	return err
}

// readAgain reads one chunk of the source until two reads, the copy's among them, agree, and stores it
// again if it is not the copy's that does.
func (c *copier) readAgain(ctx context.Context, w work, l *lane) error {
	stored := c.expectedDigest(w)
	d, err := c.confirm(ctx, w, l, stored)
	if err != nil {
		return err
	}
	if d != stored {
		return c.storeAgain(ctx, w, l.buf[:w.Len], l)
	}
	l.moved = w.Len
	return nil
}

// readBackFlushed reads a target back that shows what it stores only after a flush, and mends it until
// a whole reading finds no difference.
func (c *copier) readBackFlushed(ctx context.Context) error {
	for range rewrites {
		if err := control(ctx, c.target, c.flush); err != nil {
			return err
		}
		var mended atomic.Int64
		err := c.run(ctx, c.everything(ctx), func(ctx context.Context, w work, l *lane) error {
			again, err := c.readBackAgain(ctx, w, l)
			if again {
				mended.Add(1)
			}
			return err
		}, false)
		if err != nil || mended.Load() == 0 {
			return err
		}
	}
	return transfer.Errorf(transfer.CodeMismatch, "what is stored is not what it should be; do not use the target",
		"the target differed after each of %d flushes", rewrites)
}

// readBackAll reads a complete target back, which cannot be mended any more.
func (c *copier) readBackAll(ctx context.Context) error {
	return c.run(ctx, c.everything(ctx), func(ctx context.Context, w work, l *lane) error {
		return c.judge(ctx, w.Chunk, expected{digest: c.expectedDigest(w)}, l)
	}, false)
}

// checkZeros samples the places that were left out because they are zeros. If one of them is not,
// others may not be either: then the whole target is read back, and what is wrong is stored again.
func (c *copier) checkZeros(ctx context.Context) error {
	err := c.sampleZeros(ctx)
	if transfer.CodeOf(err) != transfer.CodeMismatch {
		return err
	}
	c.state.log.Warn("target does not read as zeros where nothing was written, reading all of it back", zap.Error(err))
	return c.run(ctx, c.everything(ctx), c.repair, false)
}

// sampleZeros looks at places that were never written because they are zeros.
func (c *copier) sampleZeros(ctx context.Context) error {
	if !c.skipZeros {
		return nil
	}
	nonZero := c.state.ledger.nonZero(c.size, c.chunkSize)
	count := transfer.ChunkCount(c.size, c.chunkSize)
	var places []transfer.Chunk
	// An image with hardly any zeros may use all tries up; then there was little to sample.
	for tries := 0; len(places) < zeroSample && tries < 4*zeroSample; tries++ {
		i := rand.Int64N(count)
		if _, ok := nonZero[i]; ok {
			continue
		}
		ch := transfer.ChunkAt(i, c.size, c.chunkSize)
		if spare := ch.Len - sampleSize; spare > 0 {
			ch.Off, ch.Len = ch.Off+rand.Int64N(int64(spare)+1), sampleSize
		}
		places = append(places, ch)
	}
	return c.areZero(ctx, places)
}

// areZero looks at all places at once: the endpoint may be far away.
func (c *copier) areZero(ctx context.Context, places []transfer.Chunk) error {
	g, ctx := panics.WithContext(ctx)
	for _, ch := range places {
		g.Go(func() error { return c.isZero(ctx, ch, &lane{cmp: verify.NewComparer()}) })
	}
	return g.Wait()
}

func (c *copier) isZero(ctx context.Context, ch transfer.Chunk, l *lane) error {
	return c.judge(ctx, ch, expected{digest: verify.ZeroDigest(ch.Len)}, l)
}
