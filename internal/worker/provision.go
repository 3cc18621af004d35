package worker

import (
	"cmp"
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/flow"
	"github.com/transferd/transferd/internal/transfer"
)

const (
	copyPollMin = 100 * time.Millisecond
	copyPollMax = 15 * time.Second
)

// provision makes the job's target drive, or finds the one that an earlier attempt made. That an
// endpoint is asked for a drive is saved before it is, and the drive's UUID before anything is done to
// it, so that a job makes one drive however often it is cut off.
func (a *attempt) provision(ctx context.Context, size int64) error {
	target, plan := a.spec().Target, a.state.Plan()
	switch {
	case !target.IsDrive() || plan.Drive != "" || !a.action.Writes && !a.action.EndpointCopies:
		return nil
	case target.Drive != "": // claimed already
		return a.noteDrive(ctx, target.Drive, time.Time{})
	}
	find, mayBeMade := plan.Asked, plan.Asked
	a.fresh = !plan.Asked
	a.state.updatePlan(func(p *transfer.Plan) { p.Asked = true })
	if err := a.state.saveSurely(ctx); err != nil {
		return err
	}
	var drive string
	err := control(ctx, a.target, func(ctx context.Context) (err error) {
		drive, err = a.opener.Provision(ctx, a.session, size, find)
		find, mayBeMade = true, mayBeMade || mayHaveMade(err)
		return err
	})
	if err != nil {
		a.state.updatePlan(func(p *transfer.Plan) { p.Asked = mayBeMade })
		return err
	}
	a.waits.reached = true // the endpoint has answered
	if err := a.noteDrive(ctx, drive, a.now()); err != nil {
		return err
	}
	return a.claimTarget(ctx, drive)
}

// mayHaveMade reports whether a call that failed may have made a drive: no answer came, or none
// that says it was refused.
func mayHaveMade(err error) bool {
	if errors.Is(err, transfer.ErrNotCarriedOut) {
		return false
	}
	switch transfer.CodeOf(err) {
	case transfer.CodeInvalid, transfer.CodeExists, transfer.CodeNotFound, transfer.CodeConflict,
		transfer.CodeUnreachable, transfer.CodeUntrusted, transfer.CodeUnauthorized, transfer.CodeForbidden,
		transfer.CodeThrottled, transfer.CodeRefused:
		return false
	}
	return err != nil
}

// noteDrive saves the target drive. created is when the job made it; zero: it was there before.
func (a *attempt) noteDrive(ctx context.Context, drive string, created time.Time) error {
	a.state.updatePlan(func(p *transfer.Plan) {
		p.Drive, p.Created = drive, created
		if a.ends.source != nil { // a drive that the job made is one for this image
			p.Source = a.ends.source.Identity()
		}
	})
	a.state.update(func(p *transfer.Progress) { p.Drive = drive })
	return a.state.saveSurely(ctx)
}

// openTarget provisions and opens the target. A drive that the job made and that is gone is made once
// more.
func (a *attempt) openTarget(ctx context.Context, size int64) error {
	err := a.openSink(ctx, size)
	if a.gone(err) {
		if err = a.forget(ctx); err == nil {
			err = a.openSink(ctx, size)
		}
	}
	return err
}

func (a *attempt) openSink(ctx context.Context, size int64) error {
	if err := a.provision(ctx, size); err != nil {
		return err
	}
	if err := a.checkFinished(ctx); err != nil {
		return err
	}
	plan := a.state.Plan()
	r := SinkRequest{
		Drive: cmp.Or(plan.Drive, a.spec().Target.Drive), Made: !plan.Created.IsZero(),
		Size: size, Resume: a.state.ledger.len() > 0, Compare: plan.Finished,
	}
	err := control(ctx, a.target, func(ctx context.Context) error {
		sink, err := a.opener.Sink(ctx, a.session, r)
		if err != nil {
			return err
		}
		if err = a.ends.setSink(sink); err != nil {
			return errors.Join(err, sink.Close())
		}
		return nil
	})
	if err != nil {
		return err
	}
	a.waits.reached = true
	if a.ends.flush != nil && a.action.Writes {
		a.flusher = newFlusher(ctx, a.ends.flush, a.state.ledger, a.log, a.stop)
	}
	return nil
}

// awaitCopy has the endpoint copy the source, and waits until it is done.
func (a *attempt) awaitCopy(ctx context.Context) error {
	if err := a.provision(ctx, -1); err != nil {
		return err
	}
	a.waits.reached = true
	err := a.copyReady(ctx)
	if a.gone(err) {
		err = errors.Join(err, a.forget(ctx)) // jobs retry makes another
	}
	return err
}

// copyReady polls the endpoint. There is no limit: a large drive may take hours, and the endpoint says
// itself when a copy has failed.
func (a *attempt) copyReady(ctx context.Context) error {
	drive := a.state.Plan().Drive
	for wait := copyPollMin; ; wait = min(wait*2, copyPollMax) {
		var ready bool
		err := control(ctx, a.target, func(ctx context.Context) (err error) {
			ready, err = a.opener.Ready(ctx, a.session, drive)
			return err
		})
		if err != nil || ready {
			return err
		}
		a.log.Debug("drive is imaging", zap.String("drive", drive))
		if err := flow.Wait(ctx, a.drain, wait); err != nil {
			return err
		}
	}
}

// gone reports whether err says that the drive which the job made does not exist any more. One that
// was finished is not made again.
func (a *attempt) gone(err error) bool {
	plan := a.state.Plan()
	return transfer.CodeOf(err) == transfer.CodeNotFound && !plan.Created.IsZero() && !plan.Finished
}

// forget resets the job: what it made is gone.
func (a *attempt) forget(ctx context.Context) error {
	a.log.Info("target drive not found, starting over", zap.String("drive", a.state.Plan().Drive))
	a.state.updatePlan(func(p *transfer.Plan) { *p = transfer.Plan{ReadMark: p.ReadMark, Asked: p.Asked} })
	a.state.ledger.clear()
	a.state.update(func(p *transfer.Progress) { p.Drive = "" })
	return a.state.saveSurely(ctx)
}
