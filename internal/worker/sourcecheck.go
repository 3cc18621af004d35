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

// sourcePasses is how often the source is compared at the most with what was read of it.
const sourcePasses = 3

// proveSource makes sure that all which was read is of one image. Where the source was touched,
// perhaps only its permissions, the digests of a second reading decide; so they do, with full
// verification, of a source that others may change unseen.
func (a *attempt) proveSource(ctx context.Context, c *copier) error {
	unseen := ""
	if a.ends.unwatch != nil {
		unseen = a.ends.unwatch.Unseen()
	}
	// A stream that was read by a resumed attempt has been compared on the way.
	again := a.state.Plan().Recheck && a.ends.stream == nil || unseen != "" && a.spec().Verify == transfer.VerifyFull
	read := false
	for range sourcePasses {
		err := a.unchanged(ctx)
		if err != nil && !errors.Is(err, transfer.ErrTouched) {
			return err
		}
		if again = again || err != nil; !again {
			a.noteUnseen(unseen, read)
			return nil
		}
		a.log.Info("reading the source a second time", zap.String("unseen", unseen), zap.Error(err))
		if err := a.reread(ctx, c); err != nil {
			return err
		}
		again, read = false, true
	}
	return &transfer.Error{
		Op: "read the source", Code: transfer.CodeSourceChanged,
		Hint: "leave the image alone while it is read, then retry the job",
		Err:  fmt.Errorf("it was touched each of %d times that it was read", sourcePasses+1),
	}
}

// noteUnseen keeps, for the result, which changes of the source cannot be detected.
func (a *attempt) noteUnseen(unseen string, read bool) {
	switch {
	case unseen == "":
	case read:
		a.unseen = unseen + "; a second reading found no difference"
	default:
		a.unseen = unseen + ": --verify full reads it a second time"
	}
}

// reread compares the digests of what was read of the source with those of what it has now.
func (a *attempt) reread(ctx context.Context, c *copier) error {
	if a.ends.unwatch != nil {
		if err := a.ends.unwatch.DropCache(); err != nil {
			return err
		}
	}
	if a.ends.stream != nil {
		return a.rereadStream(ctx, c)
	}
	plan := chunker.Plan(ctx, a.ends.mapper.Extents(ctx), c.size, c.chunkSize, true)
	return c.run(ctx, newPlanFeed(plan, wholeImage), c.rereadChunk, false)
}

// rereadStream opens the source once more, for a stream is read once.
func (a *attempt) rereadStream(ctx context.Context, c *copier) error {
	if err := errors.Join(a.ends.source.Close(), a.openOnce(ctx)); err != nil {
		return err
	}
	f := &streamFeed{src: a.ends.stream, chunkSize: c.chunkSize}
	if err := c.run(ctx, f, c.rereadChunk, false); err != nil {
		return err
	}
	if f.size != c.size {
		return errReread(f.size, fmt.Errorf("it had %d bytes, it has %d", c.size, f.size))
	}
	return nil
}

// rereadChunk compares one chunk of the source with what the ledger has; what was left out was
// zeros.
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
	l.moved = w.Len
	if got := verify.Sum(p); got != want {
		return errReread(w.Off, fmt.Errorf("the digest of %d bytes at %d is %s, not %s", w.Len, w.Off, got, want))
	}
	return nil
}

func errReread(off int64, err error) error {
	return &transfer.Error{
		Op: "read the source a second time", Code: transfer.CodeSourceChanged, Offset: &off,
		Hint: "leave the image alone while it is read, and start a new job",
		Err:  fmt.Errorf("the image changed: %w", err),
	}
}
