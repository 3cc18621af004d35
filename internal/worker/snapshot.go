package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/flow"
	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/transfer"
)

// sourceClone is a clone that a job has the endpoint make of a drive, and destroys.
type sourceClone struct {
	session *Session // about the drive
	// of returns where a plan has the clone.
	of func(p *transfer.Plan) *transfer.Snapshot
}

// ownClone is the clone that the job reads in place of its source drive.
func (a *attempt) ownClone() *sourceClone {
	return &sourceClone{a.session, func(p *transfer.Plan) *transfer.Snapshot { return &p.Snapshot }}
}

// clones are all clones that the job may have requested.
func (a *attempt) clones() []*sourceClone {
	if a.action.MovesServer {
		return a.clonesOfServer()
	}
	return []*sourceClone{a.ownClone()}
}

// snapshot is what the plan says of a clone.
func (a *attempt) snapshot(c *sourceClone) transfer.Snapshot {
	plan := a.state.Plan()
	return *c.of(&plan)
}

func (a *attempt) updateSnapshot(c *sourceClone, change func(s *transfer.Snapshot)) {
	a.state.updatePlan(func(p *transfer.Plan) {
		if p.Migration != nil {
			p.Migration = p.Migration.Clone()
		}
		change(c.of(p))
	})
}

// readsSnapshot reports whether the job reads a clone in place of its source drive. A job that makes
// its endpoint clone the drive anyway needs no other clone.
func (a *attempt) readsSnapshot() bool {
	plan := a.state.Plan()
	mode := a.spec().Mode
	cloned := mode == transfer.ModeClone || mode == transfer.ModeQuiesce || plan.OwesSnapshot()
	return cloned && a.spec().Source.IsDrive() && a.action.Writes
}

// openSnapshot opens a clone of the source drive as the source: that of an earlier attempt, or a new
// one.
func (a *attempt) openSnapshot(ctx context.Context) error {
	defer a.setStep("")
	clone := a.ownClone()
	switch snapshot := a.snapshot(clone); {
	case snapshot.Drive == "":
		take := func(ctx context.Context) error { return a.takeSnapshot(ctx, clone) }
		if err := a.quiesced(ctx, take); err != nil {
			return err
		}
	case snapshot.Left: // by an attempt before a retry
		a.noteRequest(clone)
		if err := a.state.saveUntilDone(ctx); err != nil {
			return err
		}
	}
	if err := a.startServers(ctx); err != nil {
		return err
	}
	a.setStep(transfer.StepCloning)
	drive := a.snapshot(clone).Drive
	err := a.pollCopy(ctx, a.snapshots, drive, a.opener.SnapshotReady)
	if err == nil {
		a.session.Snapshot = drive
		err = a.tryOpenSource(ctx)
	}
	if transfer.CodeOf(err) == transfer.CodeNotFound {
		return &transfer.Error{
			Op: "read the source", Code: transfer.CodeSourceChanged, Hint: "run the job again",
			Err: fmt.Errorf("the clone that it reads does not exist any more: %w", err),
		}
	}
	return err
}

// takeSnapshot has the endpoint clone a drive. The plan is saved before the request, so
// that whatever happens the clone is destroyed, and again with the clone's UUID.
func (a *attempt) takeSnapshot(ctx context.Context, clone *sourceClone) error {
	a.setStep(transfer.StepCloning)
	earlier := a.snapshot(clone)
	find, mayExist := earlier.Owed(), earlier.Owed()
	a.noteRequest(clone)
	if err := a.state.saveUntilDone(ctx); err != nil {
		return err
	}
	var made Snapshot
	err := control(ctx, a.snapshots, func(ctx context.Context) (err error) {
		made, err = a.opener.Snapshot(ctx, clone.session, find)
		if transfer.MayBeCarriedOut(err) {
			find, mayExist = true, true
			a.noteRequest(clone)
		}
		if transfer.CodeOf(err) == transfer.CodeConflict {
			return cmp.Or(a.refuseHeld(ctx, clone.session.Spec.Source, err), err)
		}
		return err
	})
	if err != nil {
		if !mayExist {
			a.updateSnapshot(clone, func(s *transfer.Snapshot) { *s = transfer.Snapshot{} })
		}
		return fmt.Errorf("clone the source drive: %w", err)
	}
	a.retrier.reached = true
	a.noteInUse(transfer.ModeClone, made.Servers)
	a.updateSnapshot(clone, func(s *transfer.Snapshot) { s.Drive, s.Tagged = made.Drive, made.Tagged })
	return a.state.saveUntilDone(ctx)
}

// noteRequest records that a clone is, or may just have been, requested.
func (a *attempt) noteRequest(c *sourceClone) {
	a.updateSnapshot(c, func(s *transfer.Snapshot) { s.Requested, s.Left = a.now(), false })
}

// requested returns when a clone was last requested, by this host's clock; zero: none was.
func (a *attempt) requested() (last time.Time) {
	for _, c := range a.clones() {
		if at := a.localTime(a.snapshot(c).Requested); at.After(last) {
			last = at
		}
	}
	return last
}

// localTime converts a time of the store's clock to this host's; zero stays zero.
func (a *attempt) localTime(at time.Time) time.Time {
	if at.IsZero() {
		return at
	}
	return time.Now().Add(at.Sub(a.now()))
}

func (a *attempt) setStep(s transfer.Step) {
	a.state.update(func(p *transfer.Progress) { p.Step = s })
}

const (
	// undoPause is the first pause between two tries to undo something, and undoPauseMax the
	// longest.
	undoPause    = 5 * time.Second
	undoPauseMax = time.Minute
	// undoAfterDeadline is how long it is tried at least, and undoWithoutDeadline how long for a
	// job without a deadline.
	undoAfterDeadline   = 10 * time.Minute
	undoWithoutDeadline = 24 * time.Hour
	// undoDraining is how long it is tried by a worker that stops. Then another worker does it.
	undoDraining = 30 * time.Second
	// settleTime is how long after a request without a response the endpoint may still carry it
	// out.
	settleTime = 30 * time.Second
)

// undo undoes what the job owes, and then returns its outcome. ctx is that of the attempt, which may
// have ended. Another attempt undoes it if this one has lost the job, or if its worker stops. A
// worker that stops starts the servers before, if that is soon possible: no other one may be there.
func (a *attempt) undo(ctx context.Context, limit time.Duration, outcome error) error {
	code := transfer.CodeOf(outcome)
	if code == transfer.CodeFenced || code == transfer.CodeDrained && ctx.Err() != nil {
		return outcome
	}
	limit = undoLimit(ctx, limit)
	if code != transfer.CodeDrained {
		ctx = context.WithoutCancel(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	bounded := panics.Go(func() { a.boundDraining(ctx, stop) }, stop)
	defer bounded()
	defer stop(nil)
	if !a.loaded && a.load(ctx) != nil {
		return outcome
	}
	if plan := a.state.Plan(); !plan.Owes() {
		return outcome
	}
	if outcome == nil {
		a.state.updatePlan(func(p *transfer.Plan) { p.Done = true })
	}
	a.state.end()
	err := a.state.runWithSaves(ctx, stop, func() error {
		if err := a.undoQuiesce(ctx); err != nil || code == transfer.CodeDrained {
			return err
		}
		if err := a.undoCopies(ctx, outcome); err != nil {
			return err
		}
		return a.destroyClones(ctx, outcome)
	})
	if handedOn := handedOn(ctx, err); handedOn != nil {
		return handedOn
	}
	if err != nil {
		return err
	}
	return a.noteLeft(outcome)
}

// handedOn returns why another attempt continues the job: the cause of the end of ctx, or the worker
// stops, so that a wait ended with err; nil: none does.
func handedOn(ctx context.Context, err error) error {
	switch cause := context.Cause(ctx); transfer.CodeOf(cause) {
	case transfer.CodeFenced, transfer.CodeDrained:
		return cause
	}
	if errors.Is(err, flow.ErrDrained) {
		return flow.ErrDrained
	}
	return nil
}

// undoLimit is how long an attempt with the context ctx tries to undo what the job owes; limit is the
// worker's.
func undoLimit(ctx context.Context, limit time.Duration) time.Duration {
	if limit > 0 {
		return limit
	}
	if due, bounded := ctx.Deadline(); bounded {
		return max(undoAfterDeadline, time.Until(due))
	}
	return undoWithoutDeadline
}

// boundDraining calls stop some time after the worker was told to stop, unless ctx ends before.
func (a *attempt) boundDraining(ctx context.Context, stop context.CancelCauseFunc) {
	select {
	case <-a.drain:
	case <-ctx.Done():
		return
	}
	if flow.Wait(ctx, nil, undoDraining) == nil {
		stop(flow.ErrDrained)
	}
}

// mayPass reports whether what failed with err may succeed later, although its call is not retried:
// an account may get money, and a password may be corrected.
func mayPass(err error) bool {
	switch code := transfer.CodeOf(err); code {
	case transfer.CodeNoSpace, transfer.CodeUnauthorized, transfer.CodeForbidden, transfer.CodeUntrusted,
		transfer.CodeProtocol:
		return true
	default:
		return code.Retry() != transfer.RetryNever
	}
}

// noteLeft adds what stays to the error of a job.
func (a *attempt) noteLeft(outcome error) error {
	left := a.leftServers()
	for _, c := range a.clones() {
		if a.snapshot(c).Left {
			left = append(left, a.leftText(c))
		}
	}
	if outcome == nil || len(left) == 0 {
		return outcome
	}
	noted := &transfer.Error{
		Code: transfer.CodeOf(outcome), Err: fmt.Errorf("%w; %s", outcome, strings.Join(left, "; ")),
	}
	var cause *transfer.Error
	if errors.As(outcome, &cause) {
		noted.Hint, noted.Offset = cause.Hint, cause.Offset
	}
	return noted
}

// leftText names a clone that stays.
func (a *attempt) leftText(c *sourceClone) string {
	s, endpoint := a.snapshot(c), a.spec().Source.Endpoint
	if s.Drive == "" {
		return fmt.Sprintf("%s may have made a clone, which then has the tag %s", endpoint, c.session.SnapshotTag())
	}
	return fmt.Sprintf("the clone %s:%s stays: transferctl drives destroy removes it", endpoint, s.Drive)
}

// destroyClones destroys all clones, and tries until ctx ends.
func (a *attempt) destroyClones(ctx context.Context, outcome error) error {
	for _, c := range a.clones() {
		if err := a.destroyClone(ctx, c, outcome); err != nil {
			return err
		}
	}
	return nil
}

// destroyClone destroys a clone, and tries until ctx ends. What was read of it is void then, unless
// the job has succeeded: another clone is another image.
func (a *attempt) destroyClone(ctx context.Context, c *sourceClone, outcome error) error {
	if s := a.snapshot(c); !s.Owed() {
		return nil
	}
	a.setStep(transfer.StepDestroying)
	defer a.setStep("")
	err := a.tryDestroy(ctx, "clone of the source drive", func(ctx context.Context) error {
		return a.destroySnapshots(ctx, c)
	})
	if handedOn(ctx, err) != nil {
		return err
	}
	if err != nil {
		a.log.Error("clone of the source drive stays", zap.String("left", a.leftText(c)), zap.Error(err))
		a.warn("%s (%v)", a.leftText(c), err)
		a.updateSnapshot(c, func(s *transfer.Snapshot) { s.Left = true })
		return a.saveEnd(ctx)
	}
	a.updateSnapshot(c, func(s *transfer.Snapshot) { *s = transfer.Snapshot{} })
	if outcome != nil {
		a.state.updatePlan(func(p *transfer.Plan) { p.Source, p.Blank = "", false })
		a.state.ledger.clear()
	}
	return a.saveEnd(ctx)
}

// warn adds a warning to the job's result.
func (a *attempt) warn(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	a.state.update(func(p *transfer.Progress) { p.Warnings = append(p.Warnings, text) })
}

// saveEnd saves, also after ctx has ended.
func (a *attempt) saveEnd(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	return a.state.saveUntilDone(ctx)
}

// tryDestroy destroys something that users know as what, and tries until ctx ends.
func (a *attempt) tryDestroy(ctx context.Context, what string, destroy func(context.Context) error) error {
	for pause := undoPause; ; pause = min(2*pause, undoPauseMax) {
		err := destroy(ctx)
		if err == nil || ctx.Err() != nil || !mayPass(err) {
			return err
		}
		a.log.Warn(what+" not destroyed, trying again", zap.Error(err))
		if err := flow.Wait(ctx, a.drain, pause); err != nil {
			return err
		}
	}
}

// destroySnapshots makes the call. If a request may have been carried out, and no clone exists, it
// waits until the request can have no effect any more.
func (a *attempt) destroySnapshots(ctx context.Context, c *sourceClone) error {
	for {
		n, s := 0, a.snapshot(c)
		err := control(ctx, a.snapshots, func(ctx context.Context) (err error) {
			// Within the call, so that each try has its own proof.
			if err := a.state.saveUntilDone(ctx); err != nil {
				return err
			}
			n, err = a.opener.DestroySnapshots(ctx, c.session, s.Drive, s.Tagged)
			return err
		})
		left := settleTime - time.Since(a.localTime(s.Requested))
		if err != nil || n > 0 || s.Drive != "" || left <= 0 {
			return err
		}
		if err := flow.Wait(ctx, a.drain, min(left, undoPause)); err != nil {
			return err
		}
	}
}
