package worker

import (
	"context"
	"fmt"

	"github.com/transferd/transferd/internal/chunker"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/verify"
)

// ledgerSample is how many chunks of its ledger a resumed job reads back before it trusts the
// ledger.
const ledgerSample = 8

// layout is how an image is cut into chunks, and what is known about the target before the copy.
type layout struct {
	size      int64 // of the image, bytes; -1 until a stream has ended
	chunkSize int   // bytes
	skipZeros bool  // zeros need not be written
	doubted   bool  // the target may differ from the ledger
}

// makeLayout returns the layout of the copy and saves the plan. The first attempt decides the plan.
// Later ones keep it, and check that the target is as the ledger has it.
func (a *attempt) makeLayout(ctx context.Context, size int64) (lay layout, err error) {
	plan, first := a.state.Plan(), a.state.Plan().ChunkSize == 0
	if first {
		if plan.ChunkSize, err = a.chunkSize(); err != nil {
			return lay, err
		}
		plan.Source = a.ends.source.Identity()
		if plan.Blank, err = a.targetBlank(ctx); err != nil {
			return lay, err
		}
	}
	lay = layout{size: size, chunkSize: plan.ChunkSize}
	if !a.ends.traits.Rewritable {
		a.state.ledger.clear()
	} else if lay.doubted, err = a.ledgerDoubtful(ctx, lay, plan.Doubted); err != nil {
		return lay, err
	}
	// Without entries the ledger cannot be wrong, but the unwritten ranges of a drive may not be
	// zeros.
	if (lay.doubted || !first && plan.Doubted) && a.spec().Target.IsDrive() {
		// Another job may have written where this job has left zeros out. A file sink clears such
		// ranges when it is completed.
		plan.Blank = false
	}
	plan.Doubted = lay.doubted && a.state.ledger.len() > 0
	// A source without an identity may have zeros now where an earlier attempt wrote other bytes
	// and did not save the chunk.
	lay.skipZeros = plan.Blank && (first || plan.Source != "" && a.ends.source.Identity() != "")
	a.state.updatePlan(func(p *transfer.Plan) {
		p.ChunkSize, p.Source, p.Blank, p.Doubted = plan.ChunkSize, plan.Source, plan.Blank, plan.Doubted
	})
	c := newCopier(a, lay)
	if c.noteSize(); first {
		if err := a.reportTail(ctx, c); err != nil {
			return lay, err
		}
	}
	if err := a.countDone(ctx, c, plan.Blank); err != nil {
		return lay, err
	}
	return lay, a.state.saveUntilDone(ctx)
}

// chunkSize returns the size that the source or sink demands, or else the one of the spec.
func (a *attempt) chunkSize() (int, error) {
	n, g := a.spec().ChunkSize, a.ends.traits.Geometry
	switch {
	case a.ends.digests != nil:
		n = a.ends.digests.ChunkSize()
	case g.FixedChunk > 0:
		n = g.FixedChunk
	}
	if g.MaxChunk > 0 && n > g.MaxChunk || g.FixedChunk > 0 && n != g.FixedChunk || g.Align > 0 && n%g.Align != 0 {
		return 0, transfer.Errorf(transfer.CodeInvalid, "use another --chunk-size, or a manifest with smaller chunks",
			"the target cannot take chunks of %s", transfer.FormatSize(int64(n)))
	}
	return n, nil
}

// targetBlank reports whether the target reads as zeros, so that zeros need not be written.
func (a *attempt) targetBlank(ctx context.Context) (blank bool, err error) {
	if a.ends.blank == nil || a.ends.traits.Zeros == transfer.ZerosWritten || !a.action.Writes {
		return false, nil
	}
	err = control(ctx, a.target, func(ctx context.Context) (err error) {
		blank, err = a.ends.blank.Blank(ctx)
		return err
	})
	return blank, err
}

// ledgerDoubtful reports whether the target may differ from the ledger: another job has claimed the
// target since, or a sample of the ledger's chunks differs. Then all chunks of the ledger are read
// back, and those that differ are stored again.
func (a *attempt) ledgerDoubtful(ctx context.Context, lay layout, doubted bool) (bool, error) {
	if a.ends.readBack == nil || a.state.ledger.len() == 0 {
		return false, nil
	}
	doubted = doubted || !a.trusted
	if !doubted {
		var err error
		if doubted, err = newCopier(a, lay).sampleDiffers(ctx); err != nil {
			return false, err
		}
	}
	if doubted {
		a.log.Info("target may have changed since the last attempt, reading back all chunks in the ledger")
	}
	return doubted, nil
}

// sampleDiffers reports whether one of a few random chunks of the ledger differs on the target.
func (c *copier) sampleDiffers(ctx context.Context) (bool, error) {
	l := &lane{cmp: verify.NewComparer()}
	for _, e := range sample(c.state.ledger.nonZero(c.size, c.chunkSize), ledgerSample) {
		ch := transfer.Chunk{Index: e.Index, Off: e.Index * int64(c.chunkSize), Len: c.chunkSize}
		if c.size >= 0 {
			ch = transfer.ChunkAt(e.Index, c.size, c.chunkSize)
		}
		err := c.readBackPatiently(ctx, c.readStored, ch, expected{digest: e.Digest}, l)
		if transfer.CodeOf(err) == transfer.CodeMismatch {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
	return false, nil
}

// countDone sets the progress before the copy: it counts the chunks that are done and the holes, so
// that progress is right from the start. Bytes are counted without holes, which take no time.
func (a *attempt) countDone(ctx context.Context, c *copier, blank bool) error {
	lay := c.layout
	var holes, data int64 // chunks, bytes
	if data = max(0, lay.size); lay.skipZeros && a.ends.mapper != nil {
		data, holes = 0, transfer.ChunkCount(lay.size, lay.chunkSize)
		for ch, err := range chunker.Chunks(ctx, a.ends.mapper.Extents(ctx), lay.size, lay.chunkSize, false) {
			if err != nil {
				return fmt.Errorf("find data: %w", err)
			}
			data += int64(ch.Len)
			holes--
		}
	}
	done, skipped := a.state.ledger.len(), int64(0)
	if blank {
		skipped = done - int64(len(a.state.ledger.nonZero(lay.size, lay.chunkSize)))
	}
	if lay.size >= 0 {
		data += c.bytesAfterImage()
	}
	a.state.setBaseline(func(n *transfer.Progress) {
		n.Bytes.Total, n.Bytes.Done = data, min(done*int64(lay.chunkSize), data)
		n.Chunks.Done, n.Chunks.Zero, n.Chunks.Verified = holes+done, holes+skipped, 0
		if c.verifyEach {
			n.Chunks.Verified = done - skipped
		}
	})
	return nil
}

// verifiesEach reports whether each chunk is read back before it counts as done.
func (a *attempt) verifiesEach() bool {
	return a.ends.readBack != nil && a.ends.traits.ReadBack == transfer.ReadBackAtOnce &&
		(!a.action.Writes || a.spec().Verify != transfer.VerifyNone)
}
