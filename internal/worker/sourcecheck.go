package worker

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/chunker"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/verify"
)

// maxSourcePasses is how often the source is read again and compared with the first reading.
const maxSourcePasses = 3

// checkSource makes sure that all chunks were read from one version of the image. If the source was
// touched, which may have changed only its permissions, a second reading decides. With full
// verification, so it does for a source whose changes cannot all be detected.
func (a *attempt) checkSource(ctx context.Context, c *copier) error {
	undetected := ""
	if a.ends.unwatched != nil {
		undetected = a.ends.unwatched.UndetectedChanges()
	}
	// A resumed attempt has compared a stream with the ledger while it read it.
	again := a.state.Plan().Recheck && a.ends.stream == nil ||
		undetected != "" && a.spec().Verify == transfer.VerifyFull
	read := false
	for range maxSourcePasses {
		err := a.unchanged(ctx)
		if err != nil && !errors.Is(err, transfer.ErrTouched) {
			return err
		}
		if again = again || err != nil; !again {
			a.noteUndetected(undetected, read)
			return nil
		}
		a.log.Info("reading the source again", zap.String("undetected", undetected), zap.Error(err))
		if err := a.reread(ctx, c); err != nil {
			return err
		}
		again, read = false, true
	}
	return &transfer.Error{
		Op: "read the source", Code: transfer.CodeSourceChanged,
		Hint: "do not change the image while it is read, then retry the job",
		Err:  fmt.Errorf("it was touched during each of %d readings", maxSourcePasses+1),
	}
}

// noteUndetected records the warning about changes of the source that cannot be detected.
func (a *attempt) noteUndetected(undetected string, read bool) {
	switch {
	case undetected == "":
	case read:
		a.undetected = undetected + "; a second reading found no difference"
	default:
		a.undetected = undetected + ": --verify full reads it a second time"
	}
}

// reread reads the source again and compares it with the ledger.
func (a *attempt) reread(ctx context.Context, c *copier) error {
	if a.ends.unwatched != nil {
		if err := a.ends.unwatched.DropCache(); err != nil {
			return err
		}
	}
	if a.ends.stream != nil {
		return a.rereadStream(ctx, c)
	}
	chunks := chunker.Chunks(ctx, a.ends.mapper.Extents(ctx), c.size, c.chunkSize, true)
	return c.runLanes(ctx, newMappedChunks(chunks, wholeImage), c.rereadChunk, false)
}

// rereadStream opens the source again, because a stream can be read only once.
func (a *attempt) rereadStream(ctx context.Context, c *copier) error {
	if err := errors.Join(a.ends.source.Close(), a.tryOpenSource(ctx)); err != nil {
		return err
	}
	chunks := &streamChunks{src: a.ends.stream, chunkSize: c.chunkSize}
	if err := c.runLanes(ctx, chunks, c.rereadChunk, false); err != nil {
		return err
	}
	if chunks.size != c.size {
		had := transfer.Count(c.size, "byte")
		return errReread(chunks.size, fmt.Errorf("it had %s and now has %d", had, chunks.size))
	}
	return nil
}

// rereadChunk compares one chunk of the source with the ledger. A chunk without an entry was a
// hole.
func (c *copier) rereadChunk(ctx context.Context, w work, l *lane) error {
	want := c.expectedDigest(w)
	if w.Hole && want == verify.ZeroDigest(w.Len) {
		return nil
	}
	w.Hole = false
	p, err := c.read(ctx, w, l)
	if err != nil {
		return err
	}
	l.bytesMoved = w.Len
	if got := verify.Sum(p); got != want {
		length := transfer.Count(w.Len, "byte")
		return errReread(w.Off, fmt.Errorf("the digest of %s at %d is %s, not %s", length, w.Off, got, want))
	}
	return nil
}

func errReread(off int64, err error) error {
	return &transfer.Error{
		Op: "read the source a second time", Code: transfer.CodeSourceChanged, Offset: &off,
		Hint: "do not change the image while it is read, and start a new job",
		Err:  fmt.Errorf("the image changed: %w", err),
	}
}
