package worker

import (
	"context"
	"fmt"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/verify"
)

// compare reads a chunk of the target and returns CodeMismatch if it differs from the source.
func (c *copier) compare(ctx context.Context, w work, p []byte, l *lane) (transfer.Digest, error) {
	if c.action.EndpointCopies {
		return c.compareCopy(ctx, w, p, l)
	}
	return c.compareTimes(ctx, w, p, l, maxComparisons)
}

// compareTimes is compare. Before it returns CodeMismatch it reads the source n times, since the
// transmission from the source may have changed the chunk.
func (c *copier) compareTimes(ctx context.Context, w work, p []byte, l *lane, n int) (transfer.Digest, error) {
	want := expected{bytes: p}
	if c.ends.digests != nil {
		var ok bool
		if want.digest, ok = c.ends.digests.ChunkDigest(w.Index); !ok {
			want.digest = verify.ZeroDigest(w.Len)
		}
	}
	for try := 1; ; try++ {
		got, err := c.readBack(ctx, w.Chunk, want, l)
		if transfer.CodeOf(err) != transfer.CodeMismatch || try == n {
			return got, err
		}
		if err := pauseBeforeTry(ctx, try); err != nil {
			return got, err
		}
		if c.ends.random == nil {
			continue // the source has only digests, or is a stream
		}
		if want.bytes, err = c.read(ctx, w, l); err != nil {
			return got, err
		}
	}
}

// readBackFunc is copier.readBack or copier.readStored.
type readBackFunc func(context.Context, transfer.Chunk, expected, *lane) (transfer.Digest, error)

// readBackPatiently reads back a chunk that is not written again if it differs. It reads as often
// as writeVerified does, with the same pauses.
func (c *copier) readBackPatiently(
	ctx context.Context, read readBackFunc, ch transfer.Chunk, want expected, l *lane,
) (err error) {
	for try := range maxWrites {
		if err := pauseBeforeTry(ctx, try); err != nil {
			return err
		}
		_, err = read(ctx, ch, want, l)
		if transfer.CodeOf(err) != transfer.CodeMismatch {
			break
		}
	}
	return err
}

// readBack reads the stored chunk up to maxReadBacks times, until it is as expected. If it never
// is, the error has CodeMismatch.
func (c *copier) readBack(
	ctx context.Context, ch transfer.Chunk, want expected, l *lane,
) (got transfer.Digest, err error) {
	return c.readBackWith(ctx, opReadBack, ch, want, l)
}

// readStored is readBack for a chunk that was written some time ago. On a target with a page cache
// it reads from the disk.
func (c *copier) readStored(
	ctx context.Context, ch transfer.Chunk, want expected, l *lane,
) (got transfer.Digest, err error) {
	if c.ends.disk == nil {
		return c.readBack(ctx, ch, want, l)
	}
	return c.readBackWith(ctx, opReadDisk, ch, want, l)
}

func (c *copier) readBackWith(
	ctx context.Context, op operation, ch transfer.Chunk, want expected, l *lane,
) (got transfer.Digest, err error) {
	for range maxReadBacks {
		read := &call{op: op, chunk: ch, want: want.bytes, cmp: l.cmp, limits: l.limits}
		if err := c.target.do(ctx, read); err != nil {
			return got, chunkError("read back", ch, err)
		}
		got = l.cmp.Digest()
		if err = c.mismatch(ch, want, got, l.cmp); err == nil {
			l.bytesMoved = ch.Len
			return got, nil
		}
		c.state.countRetry(transfer.CodeMismatch)
	}
	return got, err
}

// stillStored reports whether the target still has a chunk that an earlier attempt stored. If not,
// it removes the chunk from the ledger and the progress.
func (c *copier) stillStored(ctx context.Context, w work, inLedger transfer.Digest, l *lane) (bool, error) {
	_, err := c.readStored(ctx, w.Chunk, expected{digest: inLedger}, l)
	if transfer.CodeOf(err) != transfer.CodeMismatch {
		return err == nil, err
	}
	c.state.ledger.remove(w.Index)
	blank := c.state.Plan().Blank
	c.state.update(func(n *transfer.Progress) {
		n.Bytes.Done -= int64(w.Len)
		switch n.Chunks.Done--; {
		case blank && inLedger == verify.ZeroDigest(w.Len): // as countDone counts it
			n.Chunks.Zero--
		case c.verifyEach:
			n.Chunks.Verified--
		}
	})
	return false, nil
}

// mismatch returns the error for a chunk that is not as expected; nil if it is.
func (c *copier) mismatch(ch transfer.Chunk, want expected, got transfer.Digest, cmp *verify.Comparer) error {
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
		Op: fmt.Sprintf("verify chunk %d", ch.Index), Code: transfer.CodeMismatch, Offset: &off, Hint: c.mismatchHint(),
		Err: fmt.Errorf("the digest of %s at %d is %s in %s, and %s", transfer.Count(ch.Len, "byte"), ch.Off, got,
			targetOf(c.spec, c.state.Plan().Drive).Redacted(), c.expectedText(ch, want.digest)),
	}
}

// expectedText says what a chunk should be, and why.
func (c *copier) expectedText(ch transfer.Chunk, want transfer.Digest) string {
	if ch.Off >= c.size {
		return fmt.Sprintf("that of zeros, which must follow the image of %s, is %s",
			transfer.Count(c.size, "byte"), want)
	}
	return fmt.Sprintf("%s in %s", want, c.spec.Source.Redacted())
}

// mismatchHint says what to do about a target that differs from its source.
func (c *copier) mismatchHint() string {
	if c.action.Writes || c.action.EndpointCopies {
		return "the stored data differs from the source: do not use the target"
	}
	return "check that this is the right drive for this image; if it is, do not use the drive: " +
		"upload the image again, with --overwrite to the same drive"
}
