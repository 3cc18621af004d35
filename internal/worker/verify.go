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

// zeroSamples is how many random ranges that were never written are checked for zeros, and
// sampleSize how many bytes each has.
const (
	zeroSamples = 16
	sampleSize  = 64 << 10
)

// verify does the part of --verify that the copy has not done: the copy reads back each chunk that
// it writes.
func (c *copier) verify(ctx context.Context) error {
	mode := c.spec.Verify
	switch {
	case c.ends.readBack == nil || mode == transfer.VerifyNone:
		return nil
	case !c.action.Writes:
		return c.checkTailZero(ctx, c.action.EndpointCopies && mode == transfer.VerifyWritten)
	case c.ends.traits.ReadBack == transfer.ReadBackAfterFlush:
		return c.readBackFlushed(ctx)
	case c.ends.traits.ReadBack != transfer.ReadBackAtOnce:
		return nil // verified in the commit, or after it
	case mode == transfer.VerifyWritten:
		if err := c.checkZeros(ctx); err != nil {
			return err
		}
		return c.verifyTail(ctx, true)
	}
	if err := c.flush(ctx); err != nil { // before the disk is read
		return err
	}
	err := c.runLanes(ctx, c.allChunks(ctx), c.countingBytes(c.verifyChunk), false)
	if err != nil || !c.action.RereadsTarget {
		return err
	}
	return c.verifyTail(ctx, false)
}

// bytesAfterImage returns how many bytes are cleared or read after the copy of the image.
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

// countingBytes returns f with its bytes counted in the progress. It is for steps after the copy.
func (c *copier) countingBytes(f chunkFunc) chunkFunc {
	return func(ctx context.Context, w work, l *lane) error {
		err := f(ctx, w, l)
		if err == nil {
			c.state.update(func(n *transfer.Progress) { n.Bytes.Done += int64(w.Len) })
		}
		return err
	}
}

// verified reports whether all bytes that the job stored or compared were read back.
func (c *copier) verified() bool {
	switch c.ends.traits.ReadBack {
	case transfer.ReadBackInCommit:
		return true
	case transfer.ReadBackAfterFlush, transfer.ReadBackAfterCommit:
		return c.spec.Verify != transfer.VerifyNone
	}
	return c.verifyEach
}

// allChunks returns all chunks of the image.
func (c *copier) allChunks(ctx context.Context) chunkQueue {
	whole := extentsOf(transfer.Extent{Len: c.size})
	return newMappedChunks(chunker.Chunks(ctx, whole, c.size, c.chunkSize, false), wholeImage)
}

// extentsOf yields one extent.
func extentsOf(e transfer.Extent) iter.Seq2[transfer.Extent, error] {
	return func(yield func(transfer.Extent, error) bool) { yield(e, nil) }
}

// verifyChunk reads a chunk again from the source, the target or both, as the job's action demands.
func (c *copier) verifyChunk(ctx context.Context, w work, l *lane) error {
	if c.action.RereadsSource {
		if err := c.confirmSource(ctx, w, l); err != nil {
			return err
		}
	}
	if !c.action.RereadsTarget {
		return nil
	}
	return c.verifyAndRepair(ctx, w, l)
}

// expectedDigest returns the digest of a chunk by the ledger; without an entry it is zeros.
func (c *copier) expectedDigest(w work) transfer.Digest {
	if d, ok := c.state.ledger.get(w.Index); ok {
		return d
	}
	return verify.ZeroDigest(w.Len)
}

// verifyStored reads one chunk of the target and writes it again if it differs; repaired says so.
func (c *copier) verifyStored(ctx context.Context, w work, l *lane) (repaired bool, err error) {
	want := expected{digest: c.expectedDigest(w)}
	zero := want.digest == verify.ZeroDigest(w.Len)
	if c.ends.random == nil && !zero {
		return false, c.readBackPatiently(ctx, c.readStored, w.Chunk, want, l) // a stream cannot be read again
	}
	_, err = c.readStored(ctx, w.Chunk, want, l)
	if repaired = transfer.CodeOf(err) == transfer.CodeMismatch; repaired {
		err = c.rewriteChunk(ctx, w, want.digest, l)
	}
	if err == nil && c.verifyEach && c.skipZeros && zero {
		// The copy has not written the chunk, so it has not counted it either.
		c.state.update(func(n *transfer.Progress) { n.Chunks.Verified++ })
	}
	return repaired, err
}

// verifyAndRepair is verifyStored as a chunkFunc.
func (c *copier) verifyAndRepair(ctx context.Context, w work, l *lane) error {
	_, err := c.verifyStored(ctx, w, l)
	return err
}

// rewriteChunk writes a chunk again whose digest was d. If the source differs from d, it is read
// until two reads agree, so that one wrong read does not replace correct data.
func (c *copier) rewriteChunk(ctx context.Context, w work, d transfer.Digest, l *lane) error {
	p := l.buf[:w.Len]
	if d == verify.ZeroDigest(w.Len) {
		clear(p)
	} else if _, err := c.readUntilTwoAgree(ctx, w, l, d); err != nil {
		return err
	}
	if err := c.writeAgain(ctx, w, p, l); err != nil || c.ends.disk == nil {
		return err
	}
	_, err := c.readStored(ctx, w.Chunk, expected{digest: c.expectedDigest(w)}, l)
	return err
}

// writeAgain writes a chunk and records its digest.
func (c *copier) writeAgain(ctx context.Context, w work, p []byte, l *lane) error {
	d, err := c.writeVerified(ctx, w, p, l)
	if err == nil {
		c.state.ledger.setDone(w.Index, d)
	}
	return err
}

// confirmSource reads one chunk of the source until two reads agree; the copy's read is one of
// them. If the result differs from the copy's, it writes the chunk again.
func (c *copier) confirmSource(ctx context.Context, w work, l *lane) error {
	stored := c.expectedDigest(w)
	d, err := c.readUntilTwoAgree(ctx, w, l, stored)
	if err != nil {
		return err
	}
	if d != stored {
		return c.writeAgain(ctx, w, l.buf[:w.Len], l)
	}
	l.bytesMoved = w.Len
	return nil
}

// readBackFlushed reads back a target that returns what it stored only after a flush. It repairs
// the target until a whole pass finds no difference, at most maxWrites times.
func (c *copier) readBackFlushed(ctx context.Context) error {
	for range maxWrites {
		if err := control(ctx, c.target, c.flush); err != nil {
			return err
		}
		var repairs atomic.Int64
		err := c.runLanes(ctx, c.allChunks(ctx), func(ctx context.Context, w work, l *lane) error {
			again, err := c.verifyStored(ctx, w, l)
			if again {
				repairs.Add(1)
			}
			return err
		}, false)
		if err != nil || repairs.Load() == 0 {
			return err
		}
	}
	return transfer.Errorf(transfer.CodeMismatch, "the stored data differs from the source: do not use the target",
		"the target differed after each of %d flushes", maxWrites)
}

// readBackAll reads back a complete target, which cannot be repaired any more.
func (c *copier) readBackAll(ctx context.Context) error {
	return c.runLanes(ctx, c.allChunks(ctx), func(ctx context.Context, w work, l *lane) error {
		return c.readBackPatiently(ctx, c.readStored, w.Chunk, expected{digest: c.expectedDigest(w)}, l)
	}, false)
}

// checkZeros samples the ranges that were not written because they are zeros. If one of them is not
// zeros, others may not be either. Then it reads back the whole target and repairs it.
func (c *copier) checkZeros(ctx context.Context) error {
	err := c.sampleZeros(ctx)
	if transfer.CodeOf(err) != transfer.CodeMismatch {
		return err
	}
	c.log.Warn("target does not read as zeros where nothing was written, reading back all of it", zap.Error(err))
	return c.runLanes(ctx, c.allChunks(ctx), c.verifyAndRepair, false)
}

// sampleZeros checks random ranges that were not written because they are zeros.
func (c *copier) sampleZeros(ctx context.Context) error {
	if !c.skipZeros {
		return nil
	}
	nonZero := c.state.ledger.nonZero(c.size, c.chunkSize)
	count := transfer.ChunkCount(c.size, c.chunkSize)
	var ranges []transfer.Chunk
	// With few zeros in the image, fewer ranges may be found.
	for tries := 0; len(ranges) < zeroSamples && tries < 4*zeroSamples; tries++ {
		i := rand.Int64N(count)
		if _, ok := nonZero[i]; ok {
			continue
		}
		ch := transfer.ChunkAt(i, c.size, c.chunkSize)
		if spare := ch.Len - sampleSize; spare > 0 {
			ch.Off, ch.Len = ch.Off+rand.Int64N(int64(spare)+1), sampleSize
		}
		ranges = append(ranges, ch)
	}
	return c.checkZeroRanges(ctx, ranges)
}

// checkZeroRanges checks all ranges at once, since the round-trip time may be long.
func (c *copier) checkZeroRanges(ctx context.Context, ranges []transfer.Chunk) error {
	g, ctx := panics.WithContext(ctx)
	for _, ch := range ranges {
		g.Go(func() error { return c.checkZero(ctx, ch, &lane{cmp: verify.NewComparer()}) })
	}
	return g.Wait()
}

// checkZero checks that a range of the target is zeros.
func (c *copier) checkZero(ctx context.Context, ch transfer.Chunk, l *lane) error {
	return c.readBackPatiently(ctx, c.readBack, ch, expected{digest: verify.ZeroDigest(ch.Len)}, l)
}
