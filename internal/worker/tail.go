package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/chunker"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/verify"
	"github.com/transferd/transferd/internal/volume"
)

// The tail is the part of a larger target behind the image. On a target that existed before the job
// it has old bytes, which become zeros: each chunk is read, and written only if it is not zeros. On
// a new target it is zeros already, and is only sampled.

// maxNamedPartitions bounds how many partitions are reported.
const maxNamedPartitions = 8

// tailLen returns the length of the tail in bytes; 0 while the image's size is unknown.
func (c *copier) tailLen() int64 {
	if c.size < 0 {
		return 0
	}
	return max(0, c.ends.traits.Capacity-c.size)
}

// clearsTail reports whether the tail must be set to zero. That is so on a target where zeros are
// written.
func (c *copier) clearsTail() bool {
	return c.action.Writes && c.ends.readBack != nil && !c.skipZeros && !c.spec.KeepTail && c.tailLen() > 0
}

// tailChunks returns how many chunks the tail adds to those of the image.
func (c *copier) tailChunks() int64 {
	if !c.clearsTail() {
		return 0
	}
	return transfer.ChunkCount(c.ends.traits.Capacity, c.chunkSize) - c.size/int64(c.chunkSize)
}

// replacesOldTarget reports whether the target existed before the job and may be larger than the
// image.
func (c *copier) replacesOldTarget() bool {
	return c.action.Writes && c.ends.readBack != nil && c.state.Plan().Created.IsZero() &&
		c.ends.traits.Capacity > max(c.size, 0)
}

// noteSize records the sizes of the image and of the tail, once they are known.
func (c *copier) noteSize() {
	c.state.setSize(c.size, c.tailChunks())
	if c.replacesOldTarget() {
		c.state.update(func(n *transfer.Progress) { n.Tail.Bytes, n.Tail.Kept = c.tailLen(), c.spec.KeepTail })
	}
}

// reportTail logs, and records in the progress, what an old target holds, before anything is
// overwritten.
func (a *attempt) reportTail(ctx context.Context, c *copier) error {
	if !c.replacesOldTarget() || c.spec.KeepTail {
		return nil
	}
	found, err := a.describeTarget(ctx, c.size)
	if err != nil {
		return fmt.Errorf("read the target's partition table: %w", err)
	}
	a.state.update(func(n *transfer.Progress) { n.Tail.Found = found })
	a.log.Info("target is larger than the image, clearing the tail",
		zap.Int64("bytes", c.tailLen()), zap.Strings("found", found))
	return nil
}

// describeTarget describes the content of the target: its partition table, the partitions that
// reach behind an image of size bytes, or a file system.
func (a *attempt) describeTarget(ctx context.Context, size int64) (found []string, err error) {
	capacity := a.ends.traits.Capacity
	head, err := a.readTarget(ctx, 0, min(volume.HeadSize, capacity))
	if err != nil {
		return nil, err
	}
	table, ok := volume.ParseTable(head)
	if ok {
		found = append(found, fmt.Sprintf("%s partition table (entries: %d)", table.Kind, len(table.Partitions)))
	} else if name := volume.FileSystem(head); name != "" {
		found = append(found, name+" at its beginning")
	}
	for _, p := range table.Partitions {
		if p.Off+p.Len <= size || p.Off >= capacity || len(found) > maxNamedPartitions {
			continue
		}
		head, err := a.readTarget(ctx, p.Off, min(volume.HeadSize, capacity-p.Off))
		if err != nil {
			return nil, err
		}
		text := fmt.Sprintf("partition %d of %s at %d", p.Number, transfer.FormatSize(p.Len), p.Off)
		if name := volume.FileSystem(head); name != "" {
			text += " (" + name + ")"
		}
		found = append(found, text)
	}
	last, err := a.readTarget(ctx, max(0, capacity-volume.HeadSize), min(volume.HeadSize, capacity))
	if err == nil && volume.EndsWithGPT(last) {
		found = append(found, "backup of a GPT partition table at its end")
	}
	return found, err
}

// readTarget reads n bytes of the target at off.
func (a *attempt) readTarget(ctx context.Context, off, n int64) ([]byte, error) {
	var b bytes.Buffer
	err := control(ctx, a.target, func(ctx context.Context) error {
		b.Reset()
		return a.ends.readBack.ReadBack(ctx, transfer.Chunk{Off: off, Len: int(n)}, &b)
	})
	return b.Bytes(), err
}

// runOverTail calls f for each chunk of the tail, in several lanes.
func (c *copier) runOverTail(ctx context.Context, f chunkFunc) error {
	end := c.ends.traits.Capacity
	tail := extentsOf(transfer.Extent{Off: c.size, Len: end - c.size})
	chunks := newMappedChunks(chunker.Chunks(ctx, tail, end, c.chunkSize, false), wholeImage)
	return c.runLanes(ctx, chunks, func(ctx context.Context, w work, l *lane) error {
		if image := c.size - w.Off; image > 0 {
			w.Off, w.Len = w.Off+image, w.Len-int(image)
		}
		return f(ctx, w, l)
	}, false)
}

// clearTail sets the tail to zero, except for the chunks in the ledger.
func (c *copier) clearTail(ctx context.Context) error {
	if !c.clearsTail() {
		return nil
	}
	// A source without an identity may have had another size in an earlier attempt.
	trusted := !c.doubted && c.ends.source.Identity() != ""
	return c.runOverTail(ctx, func(ctx context.Context, w work, l *lane) error {
		if _, done := c.state.ledger.get(transfer.TailIndex + w.Index); done && trusted {
			return nil
		}
		if err := c.zeroChunk(ctx, w, l); err != nil {
			return err
		}
		c.recordDone(transfer.TailIndex+w.Index, verify.ZeroDigest(w.Len), w.Len)
		return nil
	})
}

// zeroChunk reads a chunk of the target and overwrites it with zeros unless it is zeros.
func (c *copier) zeroChunk(ctx context.Context, w work, l *lane) error {
	if err := c.target.do(ctx, &call{op: opReadBack, chunk: w.Chunk, cmp: l.cmp, limits: l.limits}); err != nil {
		return chunkError("read tail", w.Chunk, err)
	}
	if l.bytesMoved = w.Len; l.cmp.Digest() == verify.ZeroDigest(w.Len) {
		return nil
	}
	p := l.buf[:w.Len]
	clear(p)
	if _, err := c.writeVerified(ctx, w, p, l); err != nil {
		return err
	}
	if c.replacesOldTarget() {
		c.state.update(func(n *transfer.Progress) { n.Tail.Cleared += int64(w.Len) })
	}
	return nil
}

// verifyTail checks the tail of a target that was written: all of it, or a sample of a tail that
// was zeros from the beginning. It sets to zero what is not.
func (c *copier) verifyTail(ctx context.Context, sampled bool) error {
	if c.tailLen() == 0 || c.spec.KeepTail {
		return nil
	}
	if sampled {
		if !c.skipZeros {
			return nil // clearTail has read it
		}
		if err := c.checkZeroRanges(ctx, c.tailSample()); transfer.CodeOf(err) != transfer.CodeMismatch {
			return err
		}
	}
	return c.runOverTail(ctx, c.countingBytes(c.zeroChunk))
}

// checkTailZero checks that the tail of a target that is only compared is zeros: all of it, or a
// sample.
func (c *copier) checkTailZero(ctx context.Context, sampled bool) (err error) {
	switch {
	case c.tailLen() == 0 || c.spec.KeepTail:
		return nil
	case sampled:
		err = c.checkZeroRanges(ctx, c.tailSample())
	default:
		err = c.runOverTail(ctx, c.countingBytes(func(ctx context.Context, w work, l *lane) error {
			return c.checkZero(ctx, w.Chunk, l)
		}))
	}
	var e *transfer.Error
	if transfer.CodeOf(err) == transfer.CodeMismatch && errors.As(err, &e) {
		e.Hint = "the drive is larger than the image and holds other bytes behind it; " +
			"upload --overwrite makes them zeros"
	}
	return err
}

// tailSample returns random ranges of the tail.
func (c *copier) tailSample() (ranges []transfer.Chunk) {
	for range zeroSamples {
		off := c.size + rand.Int64N(c.tailLen())
		n := min(sampleSize, c.ends.traits.Capacity-off)
		ranges = append(ranges, transfer.Chunk{Index: off / int64(c.chunkSize), Off: off, Len: int(n)})
	}
	return ranges
}
