package worker

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"

	"golang.org/x/sync/errgroup"

	"github.com/transferd/transferd/internal/chunker"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/verify"
)

type extents = iter.Seq2[transfer.Extent, error]

const (
	// ledgerSample is how many of the chunks that the ledger calls done a resumed job reads back before it believes it.
	ledgerSample = 8
	// zeroSample is at how many of the places that were never written a finished job looks for zeros, and sampleSize how
	// many bytes it reads there.
	zeroSample = 16
	sampleSize = 64 << 10
)

// trustLedger looks whether the target is as the ledger has it: nobody else has claimed it since, and a few of the chunks
// that earlier attempts stored are there. If it may not be, all that the ledger has is read back, and what is not there
// is stored anew.
func (c *copier) trustLedger(ctx context.Context) error {
	rb, ok := c.sink.(transfer.ReadBacker)
	if !ok || c.ledger.len() == 0 {
		return nil
	}
	plan := &c.task.Plan
	if c.doubted = plan.Doubted || !c.vouched; !c.doubted {
		var err error
		if c.doubted, err = c.sampleDiffers(ctx, rb, sample(c.ledger.nonZero(c.size, plan.ChunkSize), ledgerSample)); err != nil {
			return err
		}
	}
	if c.doubted {
		c.log.Info("the target may have been written by others, reading back what is there")
		// Nor is it known what a drive holds where the job has written nothing; a file clears that when it is completed.
		plan.Blank = plan.Blank && !c.task.Spec.Target.IsDrive()
	}
	return nil
}

// sampleDiffers reports whether one of the chunks is not stored as the ledger has it.
func (c *copier) sampleDiffers(ctx context.Context, rb transfer.ReadBacker, entries []transfer.Entry) (bool, error) {
	ws := &workspace{cmp: verify.NewComparer()}
	for _, e := range entries {
		ch := transfer.Chunk{Index: e.Index, Off: e.Index * int64(c.task.Plan.ChunkSize), Len: c.task.Plan.ChunkSize}
		if c.size >= 0 {
			ch = transfer.ChunkAt(e.Index, c.size, c.task.Plan.ChunkSize)
		}
		_, err := c.readBack(ctx, rb, ch, expected{digest: e.Digest}, ws)
		if transfer.CodeOf(err) == transfer.CodeMismatch {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
	return false, nil
}

// stillStored reads back a chunk that an earlier attempt stored, and has the ledger forget it if it is not there any more.
func (c *copier) stillStored(ctx context.Context, w work, known transfer.Digest, ws *workspace) (bool, error) {
	_, err := c.readBack(ctx, c.sink.(transfer.ReadBacker), w.Chunk, expected{digest: known}, ws)
	if transfer.CodeOf(err) != transfer.CodeMismatch {
		return err == nil, err
	}
	c.ledger.forget(w.Index)
	c.count.update(func(n *transfer.Progress) {
		switch n.Chunks.Done--; {
		case c.task.Plan.Blank && known == verify.ZeroDigest(w.Len): // as countDone has it
			n.Chunks.Zero--
		case c.readsBack():
			n.Chunks.Verified--
		}
	})
	return false, nil
}

// prove does what --verify asks for beyond the chunks that were written.
func (c *copier) prove(ctx context.Context) error {
	rb, ok := c.sink.(transfer.ReadBacker)
	switch how := c.task.Spec.Verify; {
	case !ok || how == transfer.VerifyNone:
		return nil
	case c.mode == compareOnly:
		return c.tailIsZero(ctx, rb, c.action.EndpointCopies && how == transfer.VerifyWritten)
	case how == transfer.VerifyWritten:
		return c.sampleZeros(ctx, rb)
	default:
		return c.each(ctx, c.everything(), false, func(ctx context.Context, w work, ws *workspace) error {
			return c.proveChunk(ctx, rb, w, ws)
		}, false)
	}
}

// proveChunk reads a chunk again from the ends that are drives: a fault on the way from the source shows in no other way.
func (c *copier) proveChunk(ctx context.Context, rb transfer.ReadBacker, w work, ws *workspace) error {
	if c.action.RereadsSource {
		if err := c.readAgain(ctx, w, ws); err != nil {
			return err
		}
	}
	if !c.action.RereadsTarget {
		return nil
	}
	return c.readBackAgain(ctx, rb, w, ws)
}

// everything is the whole image as one extent.
func (c *copier) everything() extents {
	return func(yield func(transfer.Extent, error) bool) { yield(transfer.Extent{Len: c.size}, nil) }
}

func (c *copier) expectedDigest(w work) transfer.Digest {
	if d, ok := c.ledger.get(w.Index); ok {
		return d
	}
	return verify.ZeroDigest(w.Len)
}

// readBackAgain reads one chunk of the finished target, and stores it again if it is not as it was.
func (c *copier) readBackAgain(ctx context.Context, rb transfer.ReadBacker, w work, ws *workspace) error {
	want := expected{digest: c.expectedDigest(w)}
	_, err := c.readBack(ctx, rb, w.Chunk, want, ws)
	if _, stream := c.src.(transfer.Stream); transfer.CodeOf(err) == transfer.CodeMismatch && !stream {
		var p []byte
		if p, err = c.read(ctx, w, ws.buf[:w.Len]); err == nil {
			err = c.storeAnew(ctx, w, p, ws)
		}
	}
	if err == nil && c.skipZeros && want.digest == verify.ZeroDigest(w.Len) {
		c.count.update(func(n *transfer.Progress) { n.Chunks.Verified++ }) // it was not written, and so not read back before
	}
	return err
}

func (c *copier) storeAnew(ctx context.Context, w work, p []byte, ws *workspace) error {
	d, err := c.store(ctx, w, p, ws)
	if err == nil {
		c.ledger.mark(w.Index, d)
	}
	return err
}

// sourceReads is how often a chunk of the source is read at the most until two reads agree.
const sourceReads = 6

// readAgain reads one chunk of the source until two reads, the copy's among them, agree, and stores it anew if it is not
// the copy's that does.
func (c *copier) readAgain(ctx context.Context, w work, ws *workspace) error {
	stored, p := c.expectedDigest(w), ws.buf[:w.Len]
	d, err := c.confirm(ctx, w, p, stored)
	if err != nil {
		return err
	}
	if d != stored {
		return c.storeAnew(ctx, w, p, ws)
	}
	c.window.ChunkDone(w.Len, ws.began)
	return nil
}

// readTwice is readAgain for a target that is written in order: what is in it cannot be stored anew, so each chunk of a
// drive is read until two reads agree before it is written.
func (c *copier) readTwice(ctx context.Context, w work, p []byte) error {
	if c.order == nil || !c.action.RereadsSource || c.task.Spec.Verify != transfer.VerifyFull {
		return nil
	}
	_, err := c.confirm(ctx, w, p, verify.Sum(p))
	return err
}

// confirm reads a chunk of the source into p until two reads agree; first is what one of them gave before.
func (c *copier) confirm(ctx context.Context, w work, p []byte, first transfer.Digest) (transfer.Digest, error) {
	for seen := map[transfer.Digest]bool{first: true}; len(seen) < sourceReads; {
		if _, err := c.read(ctx, w, p); err != nil {
			return first, err
		}
		d := verify.Sum(p)
		if seen[d] {
			return d, nil
		}
		seen[d] = true
		c.count.retry(transfer.CodeMismatch)
	}
	return first, &transfer.Error{
		Op: fmt.Sprintf("read chunk %d again", w.Index), Code: transfer.CodeMismatch, Offset: &w.Off,
		Hint: "is a running server writing to the drive? stop it, or clone the drive and download the clone",
		Err:  fmt.Errorf("%d reads of %d bytes at %d gave different data each time", sourceReads, w.Len, w.Off),
	}
}

// sampleZeros looks at places that were never written because they are zeros.
func (c *copier) sampleZeros(ctx context.Context, rb transfer.ReadBacker) error {
	if !c.skipZeros {
		return nil
	}
	nonZero := c.ledger.nonZero(c.size, c.chunkSize)
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
	return c.areZero(ctx, rb, places)
}

// areZero looks at all places at once: the endpoint may be far away.
func (c *copier) areZero(ctx context.Context, rb transfer.ReadBacker, places []transfer.Chunk) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, ch := range places {
		g.Go(func() error { return c.isZero(ctx, rb, ch, &workspace{cmp: verify.NewComparer()}) })
	}
	return g.Wait()
}

// tailIsZero looks at what a drive holds beyond the image: it may be larger, but with zeros. All of it is read, unless a
// sample was asked for.
func (c *copier) tailIsZero(ctx context.Context, rb transfer.ReadBacker, sampled bool) error {
	end := c.task.Capacity
	if end <= c.size {
		return nil
	}
	if sampled {
		var places []transfer.Chunk
		for range zeroSample {
			off := c.size + rand.Int64N(end-c.size)
			places = append(places, transfer.Chunk{Index: off / int64(c.chunkSize), Off: off, Len: int(min(sampleSize, end-off))})
		}
		return c.areZero(ctx, rb, places)
	}
	tail := func(yield func(transfer.Extent, error) bool) {
		yield(transfer.Extent{Off: c.size, Len: end - c.size}, nil)
	}
	f, stop := newPlanFeed(chunker.Plan(ctx, tail, end, c.chunkSize, false))
	defer stop()
	return c.carry(ctx, f, func(ctx context.Context, w work, ws *workspace) error {
		ch := w.Chunk
		if image := c.size - ch.Off; image > 0 {
			ch.Off, ch.Len = ch.Off+image, ch.Len-int(image)
		}
		return c.isZero(ctx, rb, ch, ws)
	}, false)
}

func (c *copier) isZero(ctx context.Context, rb transfer.ReadBacker, ch transfer.Chunk, ws *workspace) error {
	_, err := c.readBack(ctx, rb, ch, expected{digest: verify.ZeroDigest(ch.Len)}, ws)
	return err
}

// verified reports whether all that the job stored or compared has been read back.
func (c *copier) verified() bool {
	if c.readsBack() {
		return true
	}
	return c.sink.Traits().ReadBack == transfer.ReadBackInCommit
}
