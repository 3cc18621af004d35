package worker

import (
	"cmp"
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/flow"
	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/transfer"
)

// The intervals at which a copy by the endpoint is polled: they double.
const (
	copyPollMin = 100 * time.Millisecond
	copyPollMax = 15 * time.Second
)

// provision makes the job's target drive, or finds the one that an earlier attempt made. The plan
// is saved before the request for the drive, and again with the drive's UUID before anything is
// written. So a job makes only one drive, however often it is interrupted.
func (a *attempt) provision(ctx context.Context, size int64) error {
	target, plan := a.spec().Target, a.state.Plan()
	switch {
	case !target.IsDrive() || plan.Drive != "" || !a.action.Writes && !a.action.EndpointCopies:
		return nil
	case target.Drive != "": // claimed already
		return a.noteDrive(ctx, target.Drive, time.Time{})
	}
	find, mayBeMade := plan.DriveRequested, plan.DriveRequested
	a.fresh = !plan.DriveRequested
	a.state.updatePlan(func(p *transfer.Plan) { p.DriveRequested = true })
	if err := a.state.saveUntilDone(ctx); err != nil {
		return err
	}
	var made NewDrive
	err := control(ctx, a.target, func(ctx context.Context) (err error) {
		made, err = a.opener.Provision(ctx, a.session, size, find)
		find, mayBeMade = true, mayBeMade || transfer.MayBeCarriedOut(err)
		return err
	})
	if err != nil {
		a.state.updatePlan(func(p *transfer.Plan) { p.DriveRequested = mayBeMade })
		return err
	}
	a.retrier.reached = true // the endpoint has responded
	a.noteInUse(transfer.ModeClone, made.Servers)
	if err := a.noteDrive(ctx, made.UUID, a.now()); err != nil {
		return err
	}
	return a.claimTarget(ctx, made.UUID)
}

// noteDrive saves the target drive. created is when the job made it; zero: it existed before the
// job.
func (a *attempt) noteDrive(ctx context.Context, drive string, created time.Time) error {
	a.state.updatePlan(func(p *transfer.Plan) {
		p.Drive, p.Created = drive, created
		if a.ends.source != nil { // the drive was made for this image
			p.Source = a.ends.source.Identity()
		}
	})
	a.state.update(func(p *transfer.Progress) { p.Drive = drive })
	return a.state.saveUntilDone(ctx)
}

// openTarget provisions and opens the target. If a drive that the job made does not exist any more,
// it starts over with a new drive.
func (a *attempt) openTarget(ctx context.Context, size int64) error {
	err := a.openSink(ctx, size)
	if a.driveGone(err) {
		if err = a.startOver(ctx); err == nil {
			err = a.openSink(ctx, size)
		}
	}
	return err
}

// openSink provisions the target and opens it. size is the source's, bytes; -1: unknown.
func (a *attempt) openSink(ctx context.Context, size int64) error {
	if err := a.provision(ctx, size); err != nil {
		return err
	}
	if err := a.connect(ctx, size); err != nil {
		return err
	}
	a.retrier.reached = true
	if a.ends.flush != nil && a.action.Writes {
		a.flusher = newFlusher(ctx, a.ends.flush, a.state.ledger, a.log, a.stop)
	}
	return nil
}

// connect opens the target, unless it is finished. A drive that this attempt has just made is not:
// then the look at its tags and the opening are one round trip.
func (a *attempt) connect(ctx context.Context, size int64) error {
	var sink transfer.Sink
	open := func(ctx context.Context) (err error) {
		sink, err = a.callSink(ctx, size)
		return err
	}
	var err error
	if a.fresh {
		g, ctx := panics.WithContext(ctx)
		g.Go(func() error { return a.checkFinished(ctx) })
		g.Go(func() error { return open(ctx) })
		err = g.Wait()
	} else if err = a.checkFinished(ctx); err == nil {
		err = open(ctx)
	}
	if err == nil {
		err = a.ends.setSink(sink)
	}
	if err != nil && sink != nil {
		err = errors.Join(err, sink.Close())
	}
	return err
}

// callSink opens the target as a sink.
func (a *attempt) callSink(ctx context.Context, size int64) (sink transfer.Sink, err error) {
	plan := a.state.Plan()
	r := SinkRequest{
		Drive: cmp.Or(plan.Drive, a.spec().Target.Drive), Made: !plan.Created.IsZero(),
		Size: size, Resume: a.state.ledger.len() > 0, Compare: plan.Finished,
	}
	err = control(ctx, a.target, func(ctx context.Context) error {
		sink, err = a.opener.Sink(ctx, a.session, r)
		return err
	})
	return sink, err
}

// awaitCopy requests a copy of the source from the endpoint, and waits until it is complete.
func (a *attempt) awaitCopy(ctx context.Context) error {
	make := func(ctx context.Context) error { return a.provision(ctx, -1) }
	if a.state.Plan().Drive == "" {
		if err := a.quiesced(ctx, make); err != nil {
			return err
		}
	}
	if err := a.startServers(ctx); err != nil {
		return err
	}
	a.setStep(transfer.StepCloning)
	defer a.setStep("")
	a.retrier.reached = true
	drive := a.state.Plan().Drive
	err := a.pollCopy(ctx, a.target, drive, a.opener.Ready)
	if a.driveGone(err) {
		err = errors.Join(err, a.startOver(ctx)) // the next attempt requests another copy
	}
	return err
}

// pollCopy polls the endpoint until the copy is complete. There is no time limit: a large drive may
// take hours, and the endpoint reports a copy that has failed.
func (a *attempt) pollCopy(
	ctx context.Context, end caller, drive string,
	isReady func(ctx context.Context, s *Session, drive string) (bool, error),
) error {
	for wait := copyPollMin; ; wait = min(wait*2, copyPollMax) {
		var ready bool
		err := control(ctx, end, func(ctx context.Context) (err error) {
			ready, err = isReady(ctx, a.session, drive)
			return err
		})
		if err != nil || ready {
			return err
		}
		a.log.Debug("copy by the endpoint not complete", zap.String("drive", drive))
		if err := flow.Wait(ctx, a.drain, wait); err != nil {
			return err
		}
	}
}

// driveGone reports whether err says that the drive which the job made does not exist any more. A
// drive that was completed is not made again.
func (a *attempt) driveGone(err error) bool {
	plan := a.state.Plan()
	return transfer.CodeOf(err) == transfer.CodeNotFound && !plan.Created.IsZero() && !plan.Finished
}

// startOver resets the job after its drive was removed.
func (a *attempt) startOver(ctx context.Context) error {
	a.log.Info("target drive not found, starting over", zap.String("drive", a.state.Plan().Drive))
	a.state.updatePlan(func(p *transfer.Plan) {
		*p = transfer.Plan{
			ReadMark: p.ReadMark, DriveRequested: p.DriveRequested, Snapshot: p.Snapshot, Stopped: p.Stopped,
		}
	})
	a.state.ledger.clear()
	a.state.update(func(p *transfer.Progress) { p.Drive = "" })
	return a.state.saveUntilDone(ctx)
}
