package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/transferd/transferd/internal/chunker"
	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/verify"
)

const (
	// maxWrites is how often a chunk is written before a difference ends the job.
	maxWrites = 5
	// maxReadBacks is how often a chunk is read back before it counts as different: the
	// transmission may have changed it.
	maxReadBacks = 3
	// maxComparisons is how often the source is read before a chunk of the target counts as
	// different. If one read in ten is wrong at both ends, an intact drive of 10 TiB must not fail.
	maxComparisons = 10
	// maxSourceReads is how often a chunk of the source is read until two reads agree.
	maxSourceReads = 12
)

// Pauses between tries after a difference, since the cause may be temporary. The first retry is
// immediate.
const (
	firstPause = 50 * time.Millisecond
	maxPause   = time.Second
)

// pauseBeforeTry waits before the given try, counted from 0.
func pauseBeforeTry(ctx context.Context, try int) error {
	if try < 2 {
		return nil
	}
	return sleep(ctx, min(firstPause<<(try-2), maxPause))
}

// expected is the expected content of a stored chunk: its bytes or, if they are not known, its
// digest.
type expected struct {
	bytes  []byte
	digest transfer.Digest // if bytes is nil
}

// carryChunk carries one chunk: it reads it, adds it to the image's hash, skips, writes or compares
// it, and records it in the ledger.
func (c *copier) carryChunk(ctx context.Context, w work, l *lane) error {
	inLedger, done := c.state.ledger.get(w.Index)
	if done && c.doubted {
		var err error
		if done, err = c.stillStored(ctx, w, inLedger, l); err != nil {
			return err
		}
	}
	if done && !w.read && c.hash == nil {
		return nil
	}
	p, err := c.read(ctx, w, l)
	if err != nil {
		return err
	}
	if err := c.confirmBeforeWrite(ctx, w, p, l); err != nil {
		return err
	}
	if err := c.hash.add(ctx, w, p); err != nil {
		return err
	}
	// A source without an identity may have changed since the attempt that read the chunk first.
	if done && (p == nil || verify.Sum(p) == inLedger) {
		return nil
	}
	if !done && c.canSkip(w, p) {
		c.recordSkipped(w)
		return nil
	}
	return c.storeOrCompare(ctx, w, p, l)
}

// canSkip reports whether the chunk is zeros that need not be written. If this attempt has begun to
// write the chunk, from an earlier reading of the source, it must be written.
func (c *copier) canSkip(w work, p []byte) bool {
	return c.action.Writes && c.skipZeros && (w.Hole || chunker.IsZero(p)) && c.state.ledger.untouched(w.Index)
}

// recordSkipped records that the chunk is done without a write.
func (c *copier) recordSkipped(w work) {
	if c.state.ledger.setSkipped(w.Index, verify.ZeroDigest(w.Len)) {
		c.state.update(func(n *transfer.Progress) {
			n.Chunks.Zero++
			n.Chunks.Done++
			n.Bytes.Done += int64(w.Len)
		})
	}
}

// storeOrCompare stores or compares the chunk, and records that it is done.
func (c *copier) storeOrCompare(ctx context.Context, w work, p []byte, l *lane) error {
	put := c.compare
	if c.action.Writes {
		put = c.writeVerified
		c.takeover.noteWrite(w.Index)
	}
	d, err := put(ctx, w, p, l)
	if err != nil {
		return err
	}
	c.recordDone(w.Index, d, w.Len)
	return nil
}

// recordDone records in the ledger that the chunk with this index is done, and counts it in the
// progress unless it was done before.
func (c *copier) recordDone(index int64, d transfer.Digest, size int) {
	if !c.state.ledger.setDone(index, d) {
		return
	}
	c.state.update(func(n *transfer.Progress) {
		n.Bytes.Done += int64(size)
		if n.Chunks.Done++; c.verifyEach {
			n.Chunks.Verified++
		}
	})
}

// read returns the chunk's bytes in the lane's buffer; nil if the source has only digests.
func (c *copier) read(ctx context.Context, w work, l *lane) ([]byte, error) {
	p := l.buf[:w.Len]
	switch {
	case c.ends.digests != nil:
		return nil, nil
	case w.Hole:
		clear(p)
		return p, nil
	case !w.read:
		if err := c.source.do(ctx, &call{op: opRead, chunk: w.Chunk, p: p, limits: l.limits}); err != nil {
			return nil, chunkError("read", w.Chunk, err)
		}
	}
	c.state.update(func(n *transfer.Progress) { n.Bytes.Read += int64(w.Len) })
	return p, nil
}

// confirmBeforeWrite reads each chunk of a drive until two reads agree, with full verification to a
// target that is written in order: such a target cannot be corrected later.
func (c *copier) confirmBeforeWrite(ctx context.Context, w work, p []byte, l *lane) error {
	if c.ends.traits.Rewritable || !c.action.RereadsSource || c.spec.Verify != transfer.VerifyFull {
		return nil
	}
	_, err := c.readUntilTwoAgree(ctx, w, l, verify.Sum(p))
	return err
}

// readUntilTwoAgree reads a chunk of the source until two reads agree, and returns their digest.
// first is the digest of an earlier read.
func (c *copier) readUntilTwoAgree(
	ctx context.Context, w work, l *lane, first transfer.Digest,
) (transfer.Digest, error) {
	for seen := map[transfer.Digest]bool{first: true}; len(seen) < maxSourceReads; {
		p, err := c.read(ctx, w, l)
		if err != nil {
			return first, err
		}
		d := verify.Sum(p)
		if seen[d] {
			return d, nil
		}
		seen[d] = true
		c.state.countRetry(transfer.CodeMismatch)
	}
	return first, &transfer.Error{
		Op: fmt.Sprintf("read chunk %d again", w.Index), Code: transfer.CodeMismatch, Offset: &w.Off,
		Hint: "stop the server that writes to the drive, or copy it with --mode clone or --mode quiesce",
		Err: fmt.Errorf("%d reads of %s at %d gave different data each time",
			maxSourceReads, transfer.Count(w.Len, "byte"), w.Off),
	}
}

// writeVerified writes a chunk and reads it back until the stored bytes equal p, at most maxWrites
// times. It returns the digest of the stored bytes.
func (c *copier) writeVerified(ctx context.Context, w work, p []byte, l *lane) (d transfer.Digest, err error) {
	c.state.ledger.setBegun(w.Index)
	for try := range maxWrites {
		if err := pauseBeforeTry(ctx, try); err != nil {
			return d, err
		}
		d, err = c.writeOnce(ctx, w, p, l)
		if transfer.CodeOf(err) != transfer.CodeMismatch {
			break
		}
	}
	return d, err
}

// writeOnce writes a chunk and, if each chunk is verified, reads it back.
func (c *copier) writeOnce(ctx context.Context, w work, p []byte, l *lane) (d transfer.Digest, err error) {
	op := c.writeOp(w, p)
	if piece := l.piece(w.Len); op == opWrite && piece < w.Len {
		return c.writeInPieces(ctx, w, p, piece, l)
	}
	put := &call{op: op, chunk: w.Chunk, seq: w.seq, p: p, cmp: l.cmp, limits: l.limits}
	if err := c.callWrite(ctx, put); err != nil {
		return d, chunkError("write", w.Chunk, err)
	}
	l.bytesMoved = w.Len
	c.state.update(func(n *transfer.Progress) { n.Chunks.Sent++ })
	if !c.verifyEach {
		return verify.Sum(p), nil
	}
	if put.op == opWriteBack {
		if _, same := l.cmp.Equal(); same {
			return l.cmp.Digest(), nil
		}
		c.state.countRetry(transfer.CodeMismatch)
	}
	return c.readBack(ctx, w.Chunk, expected{bytes: p}, l)
}

// piece returns the piece size for a chunk of size bytes; a result of size: it is not split.
func (l *lane) piece(size int) int {
	if l.limits == nil {
		return size
	}
	return l.limits.split.Piece(size)
}

// writeInPieces writes a chunk in pieces, and reads each piece back while the next one is written.
func (c *copier) writeInPieces(
	ctx context.Context, w work, p []byte, size int, l *lane,
) (d transfer.Digest, err error) {
	written := make(chan transfer.Chunk)
	g, ctx := panics.WithContext(ctx)
	g.Go(func() error {
		defer close(written)
		return c.writePieces(ctx, w, p, size, l, written)
	})
	g.Go(func() error {
		for piece := range written {
			off := piece.Off - w.Off
			if _, err := c.readBack(ctx, piece, expected{bytes: p[off : off+int64(piece.Len)]}, l); err != nil {
				return err
			}
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return d, err
	}
	l.bytesMoved = w.Len
	c.state.update(func(n *transfer.Progress) { n.Chunks.Sent++ })
	return verify.Sum(p), nil
}

// writePieces writes the pieces of a chunk and sends each to written. It is at most one piece ahead
// of the receiver. Once chunks are not split any more, it writes the rest as one piece.
func (c *copier) writePieces(
	ctx context.Context, w work, p []byte, size int, l *lane, written chan<- transfer.Chunk,
) error {
	for off := 0; off < w.Len; off += size {
		if !l.limits.split.Splits() {
			size = w.Len - off
		}
		piece := transfer.Chunk{Index: w.Index, Off: w.Off + int64(off), Len: min(size, w.Len-off)}
		put := &call{op: opWrite, chunk: piece, p: p[off : off+piece.Len], limits: l.limits}
		if err := c.callWrite(ctx, put); err != nil {
			return chunkError("write", piece, err)
		}
		l.startLanes()
		select {
		case written <- piece:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// callWrite makes a call that stores a chunk. It prepares the chunk before the call may have to
// wait, so that the link does not wait for the processor.
func (c *copier) callWrite(ctx context.Context, put *call) error {
	if put.op == opWrite && c.ends.prepare != nil {
		put.prepared = c.ends.prepare.Prepare(put.chunk, put.p)
		defer put.prepared.Release()
	}
	return c.target.do(ctx, put)
}

// writeOp returns the operation that stores the chunk.
func (c *copier) writeOp(w work, p []byte) operation {
	switch {
	case c.ends.traits.Zeros == transfer.ZerosCleared && (w.Hole || chunker.IsZero(p)):
		return opClear
	case c.ends.writeBack != nil && c.verifyEach:
		return opWriteBack
	}
	return opWrite
}

// chunkError wraps the error of an operation on a chunk.
func chunkError(op string, c transfer.Chunk, err error) error {
	e := &transfer.Error{
		Op: fmt.Sprintf("%s chunk %d", op, c.Index), Code: transfer.CodeOf(err), Offset: &c.Off, Err: err,
	}
	var cause *transfer.Error
	if errors.As(err, &cause) {
		e.Hint = cause.Hint
		if cause.Offset != nil {
			e.Offset = cause.Offset
		}
	}
	return e
}
