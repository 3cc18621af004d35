package worker

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/transfer"
)

// The last step of a job removes the tag of an incomplete drive, after everything is written,
// verified and saved. If a later attempt finds its drive without the tag, an earlier attempt has
// completed the drive although the job's record does not say so: that worker was killed before it
// saved the outcome, or the record was restored from an older copy. Or a user has removed the tag.
// A server may have written to the drive since.

// checkFinished reads the tags of the target drive before the drive is opened. A finished drive is
// not written any more: the rest of the attempt compares all of it.
func (a *attempt) checkFinished(ctx context.Context) error {
	plan := a.state.Plan()
	if plan.Drive == "" {
		return nil
	}
	if !plan.Finished {
		var tags transfer.TargetTags
		err := control(ctx, a.target, func(ctx context.Context) (err error) {
			tags, err = a.opener.TargetTags(ctx, a.session, plan.Drive)
			return err
		})
		if err != nil {
			return err
		}
		// On an endpoint without tags both are false, and the plan has never seen a tag.
		plan.Tagged = plan.Tagged || tags.Incomplete
		plan.Finished = !tags.Incomplete && (plan.Tagged || tags.Job && !a.fresh)
		a.state.updatePlan(func(p *transfer.Plan) { p.Tagged, p.Finished = plan.Tagged, plan.Finished })
	}
	if !plan.Finished {
		return nil
	}
	return a.compareOnly(ctx)
}

// compareOnly makes the rest of the attempt write nothing and compare the whole target, after the
// time in which bytes of a lost worker may arrive.
func (a *attempt) compareOnly(ctx context.Context) error {
	a.log.Info("target drive was completed before, comparing it", zap.String("drive", a.state.Plan().Drive))
	a.action = transfer.Action{EndpointCopies: a.action.EndpointCopies}
	a.state.updatePlan(func(p *transfer.Plan) { p.Blank = false })
	a.state.ledger.clear()
	if a.ends.random != nil {
		a.ends.mapper = allData{a.ends.source}
	}
	if err := a.state.saveUntilDone(ctx); err != nil {
		return err
	}
	return a.takeover.wait(ctx, a.drain, a.log)
}

// tagIncomplete tags a drive that existed before the job as incomplete, before the first write to
// it. On an endpoint that cannot change tags, a later attempt cannot tell whether this one has
// completed it.
func (a *attempt) tagIncomplete(ctx context.Context) error {
	plan := a.state.Plan()
	if plan.Drive == "" || plan.Tagged || !plan.Created.IsZero() || !a.action.Writes {
		return nil
	}
	err := control(ctx, a.target, func(ctx context.Context) error {
		tags, err := a.opener.TagIncomplete(ctx, a.session, plan.Drive)
		plan.Tagged = tags.Incomplete
		return err
	})
	if cannotTag(err) {
		a.log.Warn("drive cannot be tagged as incomplete", zap.String("drive", plan.Drive), zap.Error(err))
		return nil
	}
	if err != nil {
		return fmt.Errorf("tag drive %s as incomplete: %w", plan.Drive, err)
	}
	a.state.updatePlan(func(p *transfer.Plan) { p.Tagged = plan.Tagged })
	return nil
}

// cannotTag reports whether err is the response of an endpoint that cannot change a drive's tags.
func cannotTag(err error) bool {
	switch transfer.CodeOf(err) {
	case transfer.CodeRefused, transfer.CodeNotFound, transfer.CodeProtocol, transfer.CodeNoSpace:
		return true
	}
	return false
}

// explainFinished wraps a mismatch on a drive that was completed before.
func (a *attempt) explainFinished(err error) error {
	plan := a.state.Plan()
	if !plan.Finished || transfer.CodeOf(err) != transfer.CodeMismatch {
		return err
	}
	wrapped := &transfer.Error{
		Op: "resume", Code: transfer.CodeExists,
		Hint: "the drive stays as it is: start a new job to transfer the image again",
		Err: fmt.Errorf("drive %s: %w, or a user removed its tag, and it has changed since: %w",
			plan.Drive, transfer.ErrFinished, err),
	}
	var cause *transfer.Error
	if errors.As(err, &cause) {
		wrapped.Offset = cause.Offset
	}
	return wrapped
}
