package worker

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/transfer"
)

// The tag of a target drive that is not complete is removed as the last step of a job, when all is
// written, verified and saved. A job that takes up its drive without the tag was finished by an
// earlier attempt, of which its record says nothing: that worker was killed before it wrote the
// outcome, or what keeps the record was restored from an older copy. Or a user removed the tag.
// Since then a server may write to the drive.

// checkFinished looks at the tags of the target drive before it is opened. A drive that is finished
// is not written any more: the rest of the attempt compares all of it.
func (a *attempt) checkFinished(ctx context.Context) error {
	plan := a.state.Plan()
	if plan.Drive == "" {
		return nil
	}
	if !plan.Finished {
		var mark transfer.DriveMark
		err := control(ctx, a.target, func(ctx context.Context) (err error) {
			mark, err = a.opener.Mark(ctx, a.session, plan.Drive)
			return err
		})
		if err != nil {
			return err
		}
		// Where the endpoint keeps no tags, there is neither, and the plan has seen none.
		plan.Tagged = plan.Tagged || mark.Open
		plan.Finished = !mark.Open && (plan.Tagged || mark.Job && !a.fresh)
		a.state.updatePlan(func(p *transfer.Plan) { p.Tagged, p.Finished = plan.Tagged, plan.Finished })
	}
	if !plan.Finished {
		return nil
	}
	return a.onlyCompare(ctx)
}

// onlyCompare has the rest of the attempt write nothing, and compare all of the target. Bytes of a
// lost worker must not arrive after that.
func (a *attempt) onlyCompare(ctx context.Context) error {
	a.log.Info("drive was finished before, comparing it", zap.String("drive", a.state.Plan().Drive))
	a.action = transfer.Action{EndpointCopies: a.action.EndpointCopies}
	a.state.updatePlan(func(p *transfer.Plan) { p.Blank = false })
	a.state.ledger.clear()
	if a.ends.random != nil {
		a.ends.mapper = allData{a.ends.source}
	}
	if err := a.state.saveSurely(ctx); err != nil {
		return err
	}
	return a.from.wait(ctx, a.drain, a.log)
}

// markOpen marks a drive that was there before the job, before the first write to it, as one that
// is not complete. On an endpoint that cannot do that, a later attempt cannot tell whether this one
// was finished.
func (a *attempt) markOpen(ctx context.Context) error {
	plan := a.state.Plan()
	if plan.Drive == "" || plan.Tagged || !plan.Created.IsZero() || !a.action.Writes {
		return nil
	}
	err := control(ctx, a.target, func(ctx context.Context) error {
		mark, err := a.opener.MarkOpen(ctx, a.session, plan.Drive)
		plan.Tagged = mark.Open
		return err
	})
	if cannotTag(err) {
		a.log.Warn("drive cannot be marked as incomplete", zap.String("drive", plan.Drive), zap.Error(err))
		return nil
	}
	if err != nil {
		return fmt.Errorf("mark drive %s as incomplete: %w", plan.Drive, err)
	}
	a.state.updatePlan(func(p *transfer.Plan) { p.Tagged = plan.Tagged })
	return nil
}

// cannotTag reports whether err is how an endpoint answers that cannot change a drive's tags.
func cannotTag(err error) bool {
	switch transfer.CodeOf(err) {
	case transfer.CodeRefused, transfer.CodeNotFound, transfer.CodeProtocol:
		return true
	}
	return false
}

// changedSince says of a difference that it is on a drive which was finished before.
func (a *attempt) changedSince(err error) error {
	plan := a.state.Plan()
	if !plan.Finished || transfer.CodeOf(err) != transfer.CodeMismatch {
		return err
	}
	taken := &transfer.Error{
		Op: "resume", Code: transfer.CodeExists,
		Hint: "it stays as it is: start a new job to transfer the image again",
		Err: fmt.Errorf("drive %s: %w, or a user took it into use, and it has been changed since: %w",
			plan.Drive, transfer.ErrFinished, err),
	}
	var cause *transfer.Error
	if errors.As(err, &cause) {
		taken.Offset = cause.Offset
	}
	return taken
}
