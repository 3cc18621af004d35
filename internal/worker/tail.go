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

// The tail is what a target that is larger than the image holds behind it. On a target that was
// there before it is old bytes, which become zeros: each chunk is read, and written only if it is
// not zeros. On a new target it is zeros already, and is sampled.

// namedPartitions is how many partitions are named at the most.
const namedPartitions = 8

// tailLen is how many bytes the target holds behind the image; 0 as long as the image's size is
// unknown.
func (c *copier) tailLen() int64 {
	if c.size < 0 {
		return 0
	}
	return max(0, c.ends.traits.Capacity-c.size)
}

// clearsTail reports whether the tail is to become zeros: that of a target on which zeros are
// written, too.
func (c *copier) clearsTail() bool {
	return c.action.Writes && c.ends.readBack != nil && !c.skipZeros && !c.spec.KeepTail && c.tailLen() > 0
}

// tailChunks is how many chunks the tail adds to those of the image.
func (c *copier) tailChunks() int64 {
	if !c.clearsTail() {
		return 0
	}
	return transfer.ChunkCount(c.ends.traits.Capacity, c.chunkSize) - c.size/int64(c.chunkSize)
}

// replaces reports whether the target was there before the job and may be larger than the image.
func (c *copier) replaces() bool {
	return c.action.Writes && c.ends.readBack != nil && c.state.Plan().Created.IsZero() &&
		c.ends.traits.Capacity > max(c.size, 0)
}

// noteSize notes the size of the image, once it is known, and of the tail.
func (c *copier) noteSize() {
	c.state.setSize(c.size, c.tailChunks())
	if c.replaces() {
		c.state.update(func(n *transfer.Progress) { n.Tail.Bytes, n.Tail.Kept = c.tailLen(), c.spec.KeepTail })
	}
}

// announceTail says, before anything is written, what is about to be lost of a target that was
// there before.
func (a *attempt) announceTail(ctx context.Context, c *copier) error {
	if !c.replaces() || c.spec.KeepTail {
		return nil
	}
	found, err := a.inspect(ctx, c.size)
	if err != nil {
		return fmt.Errorf("look at what the target holds: %w", err)
	}
	a.state.update(func(n *transfer.Progress) { n.Tail.Found = found })
	a.log.Info("target is larger than the image, the rest becomes zeros",
		zap.Int64("bytes", c.tailLen()), zap.Strings("found", found))
	return nil
}

// inspect names what the target holds: its partition table, the partitions that reach behind an
// image of size bytes, or a file system.
func (a *attempt) inspect(ctx context.Context, size int64) (found []string, err error) {
	capacity := a.ends.traits.Capacity
	head, err := a.stored(ctx, 0, min(volume.HeadSize, capacity))
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
		if p.Off+p.Len <= size || p.Off >= capacity || len(found) > namedPartitions {
			continue
		}
		head, err := a.stored(ctx, p.Off, min(volume.HeadSize, capacity-p.Off))
		if err != nil {
			return nil, err
		}
		text := fmt.Sprintf("partition %d of %s at %d", p.Number, transfer.FormatSize(p.Len), p.Off)
		if name := volume.FileSystem(head); name != "" {
			text += " (" + name + ")"
		}
		found = append(found, text)
	}
	last, err := a.stored(ctx, max(0, capacity-volume.HeadSize), min(volume.HeadSize, capacity))
	if err == nil && volume.EndsWithGPT(last) {
		found = append(found, "backup of a GPT partition table at its end")
	}
	return found, err
}

// stored is n bytes of what the target holds.
func (a *attempt) stored(ctx context.Context, off, n int64) ([]byte, error) {
	var b bytes.Buffer
	err := control(ctx, a.target, func(ctx context.Context) error {
		b.Reset()
		return a.ends.readBack.ReadBack(ctx, transfer.Chunk{Off: off, Len: int(n)}, &b)
	})
	return b.Bytes(), err
}

// overTail takes the chunks of the tail through step, several at once.
func (c *copier) overTail(ctx context.Context, step stepFunc) error {
	end := c.ends.traits.Capacity
	tail := extentsOf(transfer.Extent{Off: c.size, Len: end - c.size})
	f := newPlanFeed(chunker.Plan(ctx, tail, end, c.chunkSize, false), wholeImage)
	return c.run(ctx, f, func(ctx context.Context, w work, l *lane) error {
		if image := c.size - w.Off; image > 0 {
			w.Off, w.Len = w.Off+image, w.Len-int(image)
		}
		return step(ctx, w, l)
	}, false)
}

// clearTail makes the tail zeros, but for what the ledger has.
func (c *copier) clearTail(ctx context.Context) error {
	if !c.clearsTail() {
		return nil
	}
	// Where a source without an identity ended in an earlier attempt is not known.
	trusted := !c.doubted && c.ends.source.Identity() != ""
	return c.overTail(ctx, func(ctx context.Context, w work, l *lane) error {
		if _, done := c.state.ledger.get(transfer.TailIndex + w.Index); done && trusted {
			return nil
		}
		if err := c.makeZero(ctx, w, l); err != nil {
			return err
		}
		c.markDone(transfer.TailIndex+w.Index, verify.ZeroDigest(w.Len), w.Len)
		return nil
	})
}

// makeZero reads a chunk, and stores zeros there if it is not zeros.
func (c *copier) makeZero(ctx context.Context, w work, l *lane) error {
	if err := c.target.do(ctx, &call{op: opReadBack, chunk: w.Chunk, cmp: l.cmp, pace: l.pace}); err != nil {
		return at("read what the target holds in", w.Chunk, err)
	}
	if l.moved = w.Len; l.cmp.Digest() == verify.ZeroDigest(w.Len) {
		return nil
	}
	p := l.buf[:w.Len]
	clear(p)
	if _, err := c.store(ctx, w, p, l); err != nil {
		return err
	}
	if c.replaces() {
		c.state.update(func(n *transfer.Progress) { n.Tail.Cleared += int64(w.Len) })
	}
	return nil
}

// verifyTail looks at the tail of a target that was written: all of it, or a sample where it was
// zeros from the beginning. What is not zeros becomes so.
func (c *copier) verifyTail(ctx context.Context, sampled bool) error {
	if c.tailLen() == 0 || c.spec.KeepTail {
		return nil
	}
	if sampled {
		if !c.skipZeros {
			return nil // it was read already
		}
		if err := c.areZero(ctx, c.tailSample()); transfer.CodeOf(err) != transfer.CodeMismatch {
			return err
		}
	}
	return c.overTail(ctx, c.counted(c.makeZero))
}

// tailIsZero looks at the tail of a target that is only compared: it may be larger, but with zeros.
// All of it is read, unless a sample was asked for.
func (c *copier) tailIsZero(ctx context.Context, sampled bool) (err error) {
	switch {
	case c.tailLen() == 0 || c.spec.KeepTail:
		return nil
	case sampled:
		err = c.areZero(ctx, c.tailSample())
	default:
		err = c.overTail(ctx, c.counted(func(ctx context.Context, w work, l *lane) error {
			return c.isZero(ctx, w.Chunk, l)
		}))
	}
	var e *transfer.Error
	if transfer.CodeOf(err) == transfer.CodeMismatch && errors.As(err, &e) {
		e.Hint = "the drive is larger than the image and holds other bytes behind it; " +
			"upload --overwrite makes them zeros"
	}
	return err
}

// tailSample is places of the tail picked at random.
func (c *copier) tailSample() (places []transfer.Chunk) {
	for range zeroSample {
		off := c.size + rand.Int64N(c.tailLen())
		n := min(sampleSize, c.ends.traits.Capacity-off)
		places = append(places, transfer.Chunk{Index: off / int64(c.chunkSize), Off: off, Len: int(n)})
	}
	return places
}
