package worker

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/verify"
)

// commit checks the image's digest, completes the target and saves the result.
func (a *attempt) commit(ctx context.Context, c *copier) error {
	m := verify.NewManifest(c.size, c.chunkSize, a.state.ledger.nonZero(c.size, c.chunkSize), c.imageDigest())
	m.InUse = a.state.snapshot().InUse
	expected, warnings, err := a.checkDigest(m)
	if err == nil && a.ends.described != nil {
		err = a.ends.described.CheckImage(m)
	}
	if err != nil {
		return err
	}
	warnings = append(warnings, a.warnings(ctx, m)...)
	if err := a.flusher.flush(ctx); err != nil {
		return err
	}
	// The ledger is saved before the target appears, so that after a crash in between it has all
	// chunks. The save also proves the lease.
	if err := a.state.saveUntilDone(ctx); err != nil {
		return err
	}
	if a.action.Writes {
		if err := a.complete(ctx, c, m); err != nil {
			return err
		}
	}
	a.state.update(func(p *transfer.Progress) {
		p.Warnings = warnings
		p.Digest.Image, p.Digest.ChunksRoot, p.Digest.Expected = m.Image, m.ChunksRoot, expected
		p.Bytes.Total = p.Bytes.Done // an estimate before
		if p.Verified = c.verified() && p.Changed == nil; p.Verified && !c.verifyEach {
			p.Chunks.Verified = p.Chunks.Total // verified as a whole
		}
		if a.ends.local != nil && p.Verified {
			p.ReadVia = a.ends.local.ReadVia()
		}
	})
	return a.state.saveUntilDone(ctx)
}

// complete commits the sink, and then reads back a target that cannot be read before.
func (a *attempt) complete(ctx context.Context, c *copier, m *transfer.Manifest) error {
	err := control(ctx, a.target, func(ctx context.Context) error {
		return a.ends.sink.Commit(ctx, m, a.state.saveUntilDone)
	})
	if errors.Is(err, transfer.ErrFinished) {
		a.state.updatePlan(func(p *transfer.Plan) { p.Finished = true })
	}
	if err != nil {
		return fmt.Errorf("complete target: %w", err)
	}
	if a.ends.traits.ReadBack == transfer.ReadBackAfterCommit && a.spec().Verify != transfer.VerifyNone {
		return c.readBackAll(ctx)
	}
	return nil
}

// tagComplete removes the tag of an incomplete drive from the target drive. An endpoint that cannot
// change tags is not a failure: the job's record says that the drive is complete.
func (a *attempt) tagComplete(ctx context.Context) error {
	drive := a.state.Plan().Drive
	if drive == "" {
		return nil
	}
	err := control(ctx, a.target, func(ctx context.Context) error {
		return a.opener.TagComplete(ctx, a.session, drive)
	})
	if cannotTag(err) {
		a.log.Warn("drive is complete but keeps its tag of an incomplete drive",
			zap.String("drive", drive), zap.Error(err))
		return nil
	}
	if err != nil {
		return fmt.Errorf("tag drive %s as complete: %w", drive, err)
	}
	return nil
}

// discard removes a target that this job made, if after cause no later attempt can complete or
// resume it. It requires a fresh proof of the lease first, since another worker may have completed
// the target.
func (a *attempt) discard(ctx context.Context, cause error) error {
	if cause == nil || a.ends.discard == nil || !a.cannotComplete(cause) && !a.cannotResume(cause) {
		return nil
	}
	if !a.spec().Target.IsDrive() { // for a drive, startOver clears the ledger
		a.state.ledger.clear()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	err := control(ctx, a.target, func(ctx context.Context) error {
		// Within the call, so that each try has its own proof.
		if err := a.state.saveUntilDone(ctx); err != nil {
			return fmt.Errorf("keep the incomplete target, for this worker may have lost the job: %w", err)
		}
		err := a.ends.discard.Discard(ctx)
		if transfer.CodeOf(err) == transfer.CodeNotFound {
			return nil // an earlier call removed it, and the response was lost
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("remove incomplete target: %w", err)
	}
	if a.state.Plan().Created.IsZero() {
		return a.state.save(ctx)
	}
	// No drive is left that a later attempt could find.
	a.state.updatePlan(func(p *transfer.Plan) { p.DriveRequested = false })
	return a.startOver(ctx)
}

// cannotComplete reports whether no later attempt can complete the target after cause.
func (a *attempt) cannotComplete(cause error) bool {
	switch transfer.CodeOf(cause) {
	case transfer.CodeInvalid, transfer.CodeSourceChanged:
		return true
	case transfer.CodeMismatch:
		return errors.Is(cause, transfer.ErrWrongImage) || !a.spec().Target.IsDrive()
	}
	return false
}

// cannotResume reports whether no later attempt can use the stored chunks: they may be lost, or the
// target is a file without a done chunk.
func (a *attempt) cannotResume(cause error) bool {
	return errors.Is(cause, transfer.ErrLost) || !a.spec().Target.IsDrive() && a.state.ledger.len() == 0
}

// discardAfter removes the target of earlier attempts if no later attempt can complete it after
// cause, the error of this attempt before it opened the target.
func (a *attempt) discardAfter(ctx context.Context, cause error) error {
	plan := a.state.Plan()
	if !a.cannotComplete(cause) || plan.ChunkSize == 0 && plan.Created.IsZero() || !a.action.Writes {
		return cause
	}
	if err := a.openSink(ctx, plan.Size); err != nil {
		return errors.Join(cause, err)
	}
	return a.closeSink(ctx, cause)
}
