package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/verify"
)

// commit checks the digest of the whole, completes the target and saves the result.
func (a *attempt) commit(ctx context.Context, c *copier) error {
	m := verify.NewManifest(c.size, c.chunkSize, a.state.ledger.nonZero(c.size, c.chunkSize), c.imageDigest())
	warnings, err := a.checkDigest(m)
	if err != nil {
		return err
	}
	warnings = append(warnings, a.warnings(ctx, m)...)
	if err := a.flusher.flush(ctx); err != nil {
		return err
	}
	// What is done is saved before the target appears, so that a crash in between finds all chunks in
	// the ledger. The save proves the lease, too.
	if err := a.state.saveSurely(ctx); err != nil {
		return err
	}
	if a.action.Writes {
		if err := a.complete(ctx, c, m); err != nil {
			return err
		}
	}
	a.state.update(func(p *transfer.Progress) {
		p.Warnings = warnings
		p.Digest.Image, p.Digest.ChunksRoot = m.Image, m.ChunksRoot
		p.Bytes.Total = p.Bytes.Done // which could only be foreseen before
		if p.Verified = c.verified(); p.Verified && !c.each {
			p.Chunks.Verified = p.Chunks.Total // all at once
		}
		if a.ends.local != nil && p.Verified {
			p.ReadVia = a.ends.local.ReadVia()
		}
	})
	return a.state.saveSurely(ctx)
}

// checkDigest compares the image with --sha256. That of a compressed image as it is stored will do
// as well, for there is one image in it: it is what most publishers sign.
func (a *attempt) checkDigest(m *transfer.Manifest) (warnings []string, err error) {
	want, stored := a.spec().SHA256, ""
	if a.ends.stored != nil {
		stored = a.ends.stored.StoredSHA256()
	}
	switch {
	case want == "" || strings.EqualFold(want, m.Image):
		return nil, nil
	case strings.EqualFold(want, stored):
		return []string{"--sha256 is that of the compressed file; the image in it has SHA-256 " + m.Image}, nil
	}
	found := "the image has SHA-256 " + m.Image
	if stored != "" {
		found += fmt.Sprintf(" (and the compressed file %s)", stored)
	}
	return nil, &transfer.Error{
		Op: "check --sha256", Code: transfer.CodeMismatch,
		Hint: "this is not the image that was meant, or --sha256 is wrong",
		Err:  fmt.Errorf("%s, not %s", found, want),
	}
}

// complete commits the sink, and reads a target back that cannot be read before.
func (a *attempt) complete(ctx context.Context, c *copier, m *transfer.Manifest) error {
	err := control(ctx, a.target, func(ctx context.Context) error {
		return a.ends.sink.Commit(ctx, m, a.state.saveSurely)
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

// markComplete notes on a drive that the job wrote that it is complete. An endpoint that cannot
// change what it says of a drive is no failure: the job's record says so, too.
func (a *attempt) markComplete(ctx context.Context) error {
	drive := a.state.Plan().Drive
	if drive == "" {
		return nil
	}
	err := control(ctx, a.target, func(ctx context.Context) error { return a.opener.Complete(ctx, a.session, drive) })
	if cannotTag(err) {
		a.log.Warn("drive still has the tag of an incomplete one", zap.String("drive", drive), zap.Error(err))
		return nil
	}
	if err != nil {
		return fmt.Errorf("mark drive %s as complete: %w", drive, err)
	}
	return nil
}

// discard removes a target that this job made and that no later attempt can complete, nor go on
// with. It asks for a fresh proof of the lease first: another worker may have completed the target
// meanwhile.
func (a *attempt) discard(ctx context.Context, cause error) error {
	if cause == nil || a.ends.discard == nil || !a.hopeless(cause) && !a.useless(cause) {
		return nil
	}
	if !a.spec().Target.IsDrive() { // what a drive had is forgotten with the drive
		a.state.ledger.clear()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	err := control(ctx, a.target, func(ctx context.Context) error {
		// Within the call, so that each try has a proof of its own.
		if err := a.state.saveSurely(ctx); err != nil {
			return fmt.Errorf("keep the incomplete target, for this worker may have lost the job: %w", err)
		}
		err := a.ends.discard.Discard(ctx)
		if transfer.CodeOf(err) == transfer.CodeNotFound {
			return nil // an earlier call removed it, and its answer was lost
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("remove incomplete target: %w", err)
	}
	if a.state.Plan().Created.IsZero() {
		return a.state.save(ctx)
	}
	// The job has left nothing that a later attempt could find.
	a.state.updatePlan(func(p *transfer.Plan) { p.Asked = false })
	return a.forget(ctx)
}

// hopeless reports whether no later attempt can complete the target after cause.
func (a *attempt) hopeless(cause error) bool {
	switch transfer.CodeOf(cause) {
	case transfer.CodeInvalid, transfer.CodeSourceChanged:
		return true
	case transfer.CodeMismatch:
		return a.spec().SHA256 != "" || !a.spec().Target.IsDrive()
	}
	return false
}

// useless reports whether a later attempt can make nothing of what is stored: it may be lost, or it
// is a file without any chunk that is done.
func (a *attempt) useless(cause error) bool {
	return errors.Is(cause, transfer.ErrLost) || !a.spec().Target.IsDrive() && a.state.ledger.len() == 0
}

// abandon removes what earlier attempts made if cause, which this one met before it opened the target,
// says that none can complete it.
func (a *attempt) abandon(ctx context.Context, cause error) error {
	plan := a.state.Plan()
	if !a.hopeless(cause) || plan.ChunkSize == 0 && plan.Created.IsZero() || !a.action.Writes {
		return cause
	}
	if err := a.openSink(ctx, plan.Size); err != nil {
		return errors.Join(cause, err)
	}
	return a.closeSink(ctx, cause)
}
