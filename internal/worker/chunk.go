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
	// rewrites is how often a chunk is written at the most before a difference ends the job.
	rewrites = 5
	// rereads is how often what is stored is read before it counts as different: the fault may lie on
	// the way back.
	rereads = 3
	// comparisons is how often the source is read at the most before a chunk of the target counts
	// as different: with one read in ten that is wrong, of both ends, a sound drive of 10 TiB must
	// not fail.
	comparisons = 10
	// sourceReads is how often a chunk of the source is read at the most until two reads agree.
	sourceReads = 12
)

// Pauses between tries after a difference: what is wrong may pass. The first try again is at once.
const (
	firstPause = 50 * time.Millisecond
	mostPause  = time.Second
)

// pauseBefore waits before the given try, counted from 0.
func pauseBefore(ctx context.Context, try int) error {
	if try < 2 {
		return nil
	}
	return sleep(ctx, min(firstPause<<(try-2), mostPause))
}

// expected is what a stored chunk should be: its bytes or, if they are not known, its digest.
type expected struct {
	bytes  []byte
	digest transfer.Digest // if bytes is nil
}

// step carries one chunk: read, hash for the whole image, skip or write or compare, remember.
func (c *copier) step(ctx context.Context, w work, l *lane) error {
	known, done := c.state.ledger.get(w.Index)
	if done && c.doubted {
		var err error
		if done, err = c.stillStored(ctx, w, known, l); err != nil {
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
	if err := c.readTwice(ctx, w, p, l); err != nil {
		return err
	}
	if err := c.hash.add(ctx, w, p); err != nil {
		return err
	}
	// What is read again by a later attempt need not be the same as before.
	if done && (p == nil || verify.Sum(p) == known) {
		return nil
	}
	if !done && c.leftOut(w, p) {
		c.markSkipped(w)
		return nil
	}
	return c.finish(ctx, w, p, l)
}

// leftOut reports whether the chunk is zeros that need not be written. Where the source was read
// again from its start, some of it may be stored already.
func (c *copier) leftOut(w work, p []byte) bool {
	return c.action.Writes && c.skipZeros && (w.Hole || chunker.IsZero(p)) && c.state.ledger.untouched(w.Index)
}

func (c *copier) markSkipped(w work) {
	if c.state.ledger.markFree(w.Index, verify.ZeroDigest(w.Len)) {
		c.state.update(func(n *transfer.Progress) {
			n.Chunks.Zero++
			n.Chunks.Done++
			n.Bytes.Done += int64(w.Len)
		})
	}
}

// finish stores or compares the chunk, and notes that it is done.
func (c *copier) finish(ctx context.Context, w work, p []byte, l *lane) error {
	put := c.compare
	if c.action.Writes {
		put = c.store
		c.takeover.writes(w.Index)
	}
	d, err := put(ctx, w, p, l)
	if err != nil {
		return err
	}
	c.markDone(w.Index, d, w.Len)
	return nil
}

// markDone notes in the ledger, and in the progress unless it had it before, that the chunk with
// this index is done.
func (c *copier) markDone(index int64, d transfer.Digest, size int) {
	if !c.state.ledger.mark(index, d) {
		return
	}
	c.state.update(func(n *transfer.Progress) {
		n.Bytes.Done += int64(size)
		if n.Chunks.Done++; c.each {
			n.Chunks.Verified++
		}
	})
}

// read returns the chunk's bytes; nil where the source knows only digests.
func (c *copier) read(ctx context.Context, w work, l *lane) ([]byte, error) {
	p := l.buf[:w.Len]
	switch {
	case c.ends.digests != nil:
		return nil, nil
	case w.Hole:
		clear(p)
		return p, nil
	case !w.read:
		if err := c.source.do(ctx, &call{op: opRead, chunk: w.Chunk, p: p, pace: l.pace}); err != nil {
			return nil, at("read", w.Chunk, err)
		}
	}
	c.state.update(func(n *transfer.Progress) { n.Bytes.Read += int64(w.Len) })
	return p, nil
}

// readTwice is for a target that is written in order: what is in it cannot be stored again, so with
// full verification each chunk of a drive is read until two reads agree before it is written.
func (c *copier) readTwice(ctx context.Context, w work, p []byte, l *lane) error {
	if c.ends.traits.Rewritable || !c.action.RereadsSource || c.spec.Verify != transfer.VerifyFull {
		return nil
	}
	_, err := c.confirm(ctx, w, l, verify.Sum(p))
	return err
}

// confirm reads a chunk of the source until two reads agree; first is what one of them gave before.
func (c *copier) confirm(ctx context.Context, w work, l *lane, first transfer.Digest) (transfer.Digest, error) {
	for seen := map[transfer.Digest]bool{first: true}; len(seen) < sourceReads; {
		p, err := c.read(ctx, w, l)
		if err != nil {
			return first, err
		}
		d := verify.Sum(p)
		if seen[d] {
			return d, nil
		}
		seen[d] = true
		c.state.retry(transfer.CodeMismatch)
	}
	return first, &transfer.Error{
		Op: fmt.Sprintf("read chunk %d again", w.Index), Code: transfer.CodeMismatch, Offset: &w.Off,
		Hint: "is a running server writing to the drive? stop it, or clone the drive and download the clone",
		Err:  fmt.Errorf("%d reads of %d bytes at %d gave different data each time", sourceReads, w.Len, w.Off),
	}
}

// store writes a chunk and reads it back until what is stored is p. It returns the digest of what is
// stored.
func (c *copier) store(ctx context.Context, w work, p []byte, l *lane) (d transfer.Digest, err error) {
	c.state.ledger.begin(w.Index)
	for try := range rewrites {
		if err := pauseBefore(ctx, try); err != nil {
			return d, err
		}
		d, err = c.storeOnce(ctx, w, p, l)
		if transfer.CodeOf(err) != transfer.CodeMismatch {
			break
		}
	}
	return d, err
}

func (c *copier) storeOnce(ctx context.Context, w work, p []byte, l *lane) (d transfer.Digest, err error) {
	op := c.writeOp(w, p)
	if piece := l.piece(w.Len); op == opWrite && piece < w.Len {
		return c.storeInPieces(ctx, w, p, piece, l)
	}
	put := &call{op: op, chunk: w.Chunk, seq: w.seq, p: p, cmp: l.cmp, pace: l.pace}
	if err := c.write(ctx, put); err != nil {
		return d, at("write", w.Chunk, err)
	}
	l.moved = w.Len
	c.state.update(func(n *transfer.Progress) { n.Chunks.Sent++ })
	if !c.each {
		return verify.Sum(p), nil
	}
	if put.op == opWriteBack {
		if _, same := l.cmp.Equal(); same {
			return l.cmp.Digest(), nil
		}
		c.state.retry(transfer.CodeMismatch)
	}
	return c.readBack(ctx, w.Chunk, expected{bytes: p}, l)
}

// piece is the size of the pieces in which a chunk of size bytes is stored; size: it is not split.
func (l *lane) piece(size int) int {
	if l.pace == nil {
		return size
	}
	return l.pace.split.Piece(size)
}

// storeInPieces writes a chunk piece by piece and reads each back while the next one is written.
func (c *copier) storeInPieces(
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
	l.moved = w.Len
	c.state.update(func(n *transfer.Progress) { n.Chunks.Sent++ })
	return verify.Sum(p), nil
}

// writePieces writes the pieces of a chunk. It is at most one piece ahead of who takes them from written.
func (c *copier) writePieces(
	ctx context.Context, w work, p []byte, size int, l *lane, written chan<- transfer.Chunk,
) error {
	for off := 0; off < w.Len; off += size {
		piece := transfer.Chunk{Index: w.Index, Off: w.Off + int64(off), Len: min(size, w.Len-off)}
		if err := c.write(ctx, &call{op: opWrite, chunk: piece, p: p[off : off+piece.Len], pace: l.pace}); err != nil {
			return at("write", piece, err)
		}
		select {
		case written <- piece:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// write stores a chunk, made ready before its turn: the link does not wait for the processor.
func (c *copier) write(ctx context.Context, put *call) error {
	if put.op == opWrite && c.ends.prepare != nil {
		put.ready = c.ends.prepare.Prepare(put.chunk, put.p)
		defer put.ready.Release()
	}
	return c.target.do(ctx, put)
}

// writeOp is how the chunk is stored.
func (c *copier) writeOp(w work, p []byte) operation {
	switch {
	case c.ends.traits.Zeros == transfer.ZerosCleared && (w.Hole || chunker.IsZero(p)):
		return opClear
	case c.ends.writeBack != nil && c.each:
		return opWriteBack
	}
	return opWrite
}

// compare reads a chunk of the target and ends the job if it is not what the source says. The source,
// too, is read again before that: the fault may lie on the way from it.
func (c *copier) compare(ctx context.Context, w work, p []byte, l *lane) (transfer.Digest, error) {
	want := expected{bytes: p}
	if c.ends.digests != nil {
		var ok bool
		if want.digest, ok = c.ends.digests.ChunkDigest(w.Index); !ok {
			want.digest = verify.ZeroDigest(w.Len)
		}
	}
	for try := 1; ; try++ {
		got, err := c.readBack(ctx, w.Chunk, want, l)
		if transfer.CodeOf(err) != transfer.CodeMismatch || try == comparisons {
			return got, err
		}
		if err := pauseBefore(ctx, try); err != nil {
			return got, err
		}
		if c.ends.random == nil {
			continue // its bytes are not read, or cannot be read again
		}
		if want.bytes, err = c.read(ctx, w, l); err != nil {
			return got, err
		}
	}
}

// judge is readBack for what is not written again if it differs: it is read as often as a chunk
// that is, with the same pauses.
func (c *copier) judge(ctx context.Context, ch transfer.Chunk, want expected, l *lane) (err error) {
	for try := range rewrites {
		if err := pauseBefore(ctx, try); err != nil {
			return err
		}
		_, err = c.readStored(ctx, ch, want, l)
		if transfer.CodeOf(err) != transfer.CodeMismatch {
			break
		}
	}
	return err
}

// readBack reads what is stored until it is what was expected, and fails with CodeMismatch if it is not.
func (c *copier) readBack(
	ctx context.Context, ch transfer.Chunk, want expected, l *lane,
) (got transfer.Digest, err error) {
	return c.readBackBy(ctx, opReadBack, ch, want, l)
}

// readStored is readBack for what was not written a moment ago: where the target's host caches it,
// it is read from the disk.
func (c *copier) readStored(
	ctx context.Context, ch transfer.Chunk, want expected, l *lane,
) (got transfer.Digest, err error) {
	if c.ends.disk == nil {
		return c.readBack(ctx, ch, want, l)
	}
	return c.readBackBy(ctx, opReadDisk, ch, want, l)
}

func (c *copier) readBackBy(
	ctx context.Context, op operation, ch transfer.Chunk, want expected, l *lane,
) (got transfer.Digest, err error) {
	for range rereads {
		if err := c.target.do(ctx, &call{op: op, chunk: ch, want: want.bytes, cmp: l.cmp, pace: l.pace}); err != nil {
			return got, at("read back", ch, err)
		}
		got = l.cmp.Digest()
		if err = differs(ch, want, got, l.cmp); err == nil {
			l.moved = ch.Len
			return got, nil
		}
		c.state.retry(transfer.CodeMismatch)
	}
	return got, err
}

// stillStored reads back a chunk that an earlier attempt stored, and takes it out of the ledger if it
// is not there any more.
func (c *copier) stillStored(ctx context.Context, w work, known transfer.Digest, l *lane) (bool, error) {
	_, err := c.readStored(ctx, w.Chunk, expected{digest: known}, l)
	if transfer.CodeOf(err) != transfer.CodeMismatch {
		return err == nil, err
	}
	c.state.ledger.forget(w.Index)
	blank := c.state.Plan().Blank
	c.state.update(func(n *transfer.Progress) {
		n.Bytes.Done -= int64(w.Len)
		switch n.Chunks.Done--; {
		case blank && known == verify.ZeroDigest(w.Len): // as countDone counts it
			n.Chunks.Zero--
		case c.each:
			n.Chunks.Verified--
		}
	})
	return false, nil
}

func differs(ch transfer.Chunk, want expected, got transfer.Digest, cmp *verify.Comparer) error {
	off := ch.Off
	if want.bytes == nil {
		if got == want.digest {
			return nil
		}
	} else {
		diff, ok := cmp.Equal()
		if ok {
			return nil
		}
		off += int64(diff)
		want.digest = verify.Sum(want.bytes)
	}
	return &transfer.Error{
		Op: fmt.Sprintf("verify chunk %d", ch.Index), Code: transfer.CodeMismatch, Offset: &off,
		Hint: "what is stored is not what it should be; do not use the target",
		Err:  fmt.Errorf("the digest of %d bytes at %d is %s, not %s", ch.Len, ch.Off, got, want.digest),
	}
}

// at says which chunk an error belongs to.
func at(op string, c transfer.Chunk, err error) error {
	e := &transfer.Error{Op: fmt.Sprintf("%s chunk %d", op, c.Index), Code: transfer.CodeOf(err), Offset: &c.Off, Err: err}
	var cause *transfer.Error
	if errors.As(err, &cause) {
		e.Hint = cause.Hint
		if cause.Offset != nil {
			e.Offset = cause.Offset
		}
	}
	return e
}
