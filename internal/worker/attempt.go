package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/chunker"
	"github.com/transferd/transferd/internal/flow"
	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/transfer"
)

// attempt is one run of a job by one worker.
type attempt struct {
	session *Session
	action  transfer.Action
	opener  Opener
	buffers *chunker.Buffers
	drain   <-chan struct{}
	log     *zap.Logger

	state      *checkpointer
	now        func() time.Time // by the store's clock
	claimer    transfer.Claimer // nil: the store does not arbitrate between jobs
	parts      transfer.Batcher // nil: the store has no other jobs
	ends       *ends
	source     caller
	target     caller
	snapshots  caller // calls about the clone that is read in place of the source
	loaded     bool   // state has what earlier attempts saved
	retrier    *retrier
	flusher    *flusher // nil: the target needs no flush
	stop       context.CancelCauseFunc
	takeover   *takeover             // from the worker before this one
	published  transfer.PublishedSum // that the source must have; zero: none
	undetected string                // warns of changes of the source that cannot be detected; empty: none
	// trusted says that no other job has claimed the target for writing since this job's last
	// claim.
	trusted bool
	fresh   bool // this attempt is the first one to request the target drive
}

var errEmpty = transfer.Errorf(
	transfer.CodeInvalid, "check the source: a job needs at least one byte", "the image is empty")

func newAttempt(w *Worker, drain <-chan struct{}, job Job, store transfer.Store) *attempt {
	log := w.cfg.Log.With(zap.String("job", job.ID))
	state := newCheckpointer(store, w.cfg.Observe, log)
	a := &attempt{
		session: &Session{Job: job, Meter: state.counters, Limit: newLimit(job.Spec.LimitRate), Lease: state.lease},
		action:  job.Spec.Action(), opener: w.cfg.Opener, buffers: &w.buffers, drain: drain, log: log,
		state: state, now: clock(store), claimer: claimer(store), parts: batcher(store),
		ends:     new(ends),
		takeover: &takeover{lease: state.lease},
		retrier:  &retrier{policy: w.cfg.Policy, count: state.counters, log: log, drain: drain},
	}
	a.source = newSourceCalls(a.ends, a.retrier, job.Spec.Source.Endpoint, a.sourceHeld)
	a.target = newTargetCalls(a.ends, a.retrier, job.Spec.Target.Endpoint, state.lease, a.made, a.targetHeld)
	a.snapshots = newSnapshotCalls(a.retrier, job.Spec.Source.Endpoint, state.lease, a.requested)
	a.session.Retry = func(ctx context.Context, op func(ctx context.Context) error) error {
		return control(ctx, a.source, op)
	}
	return a
}

// made returns when the job made the target drive, by this host's clock; zero: it did not.
func (a *attempt) made() time.Time {
	created := a.state.Plan().Created
	if created.IsZero() {
		return created
	}
	return time.Now().Add(created.Sub(a.now()))
}

func (a *attempt) spec() *transfer.Spec { return &a.session.Spec }

// load restores the state that earlier attempts saved.
func (a *attempt) load(ctx context.Context) error {
	a.retrier.reached = true // the store responded when the job was started
	if err := a.storeCall(ctx, a.source, a.state.load); err != nil {
		return fmt.Errorf("load checkpoint: %w", err)
	}
	a.takeover.addInherited(a.state.ledger)
	a.loaded = true
	return nil
}

// storeCall makes a call to the store. It waits for an unreachable store for as long as ctx lasts,
// like saveUntilDone.
func (a *attempt) storeCall(ctx context.Context, end caller, run func(ctx context.Context) error) error {
	for {
		err := control(ctx, end, run)
		if transfer.CodeOf(err) != transfer.CodeUnreachable || ctx.Err() != nil {
			return err
		}
		a.log.Warn("store unreachable, retrying", zap.Error(err))
	}
}

// run goes through the phases, and logs the drive that a failed attempt leaves.
func (a *attempt) run(ctx context.Context) error {
	if a.state.Plan().Done {
		return a.takeover.wait(ctx, a.drain, a.log)
	}
	err := a.explainInUse(ctx, a.explainFinished(a.phases(ctx)))
	if err == nil {
		return a.tagComplete(ctx)
	}
	if code := transfer.CodeOf(err); code == transfer.CodeDrained || code == transfer.CodeFenced {
		return err // another attempt continues
	}
	plan := a.state.Plan()
	if left := plan.Leftover(a.session.ID, a.spec().Target); left != "" {
		a.log.Info("target drive left incomplete", zap.String("leftover", left))
	}
	return err
}

// phases claims the drives and runs the phases of the attempt.
func (a *attempt) phases(ctx context.Context) error {
	if a.action.MovesServer {
		return a.migrate(ctx)
	}
	if err := a.claimDrives(ctx); err != nil {
		return a.discardAfter(ctx, err)
	}
	plan := a.state.Plan()
	a.retrier.reached = plan.ChunkSize > 0 || !plan.Created.IsZero()
	if a.action.EndpointCopies {
		if err := a.awaitCopy(ctx); err != nil || a.spec().Verify == transfer.VerifyNone {
			return err
		}
	}
	return a.transfer(ctx)
}

// transfer opens the source and the target, and copies or compares the image.
func (a *attempt) transfer(ctx context.Context) (err error) {
	if err := a.fetchSum(ctx); err != nil {
		return err
	}
	if err := a.openSource(ctx); err != nil {
		return a.discardAfter(ctx, err)
	}
	defer func() { err = errors.Join(err, a.ends.source.Close()) }()
	size := a.ends.source.Size()
	if size == 0 {
		return errEmpty
	}
	if err := a.openTarget(ctx, size); err != nil {
		return err
	}
	defer func() { err = a.closeSink(ctx, err) }()
	if err := a.tagIncomplete(ctx); err != nil {
		return err
	}
	lay, err := a.makeLayout(ctx, size)
	if err != nil {
		return err
	}
	err = a.carry(ctx, lay)
	if errors.Is(err, transfer.ErrInOrder) && a.ends.stream == nil {
		a.log.Info("source no longer readable by offset, reading it again from its start", zap.Error(err))
		if err = a.reopenInOrder(ctx); err == nil {
			err = a.carry(ctx, lay)
		}
	}
	if !a.action.Writes {
		return a.afterComparison(ctx, err)
	}
	return err
}

// carry runs the phases copy, verify and commit.
func (a *attempt) carry(ctx context.Context, lay layout) error {
	c := newCopier(a, lay)
	if err := c.copy(ctx, wholeImage); err != nil {
		return err
	}
	if err := a.checkSource(ctx, c); err != nil {
		return err
	}
	// At the same time, since the endpoint of the source may be far away.
	g, finishing := panics.WithContext(ctx)
	g.Go(func() error { return a.recheckHeld(finishing) })
	g.Go(func() error { return c.finish(finishing) })
	if err := g.Wait(); err != nil {
		return err
	}
	return a.commit(ctx, c)
}

// finish makes what the target holds behind the image, and what a lost worker may have written late,
// as it must be, and verifies the target.
func (c *copier) finish(ctx context.Context) error {
	if err := c.clearTail(ctx); err != nil {
		return err
	}
	if err := c.finishTakeover(ctx); err != nil {
		return err
	}
	return c.verify(ctx)
}

// closeSink closes the target at the end of an attempt whose error is cause. It flushes the done
// chunks, and removes a target that no later attempt can resume.
func (a *attempt) closeSink(ctx context.Context, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := a.flusher.stop(ctx); err != nil {
		cause = errors.Join(err, cause)
	}
	if a.action.Writes {
		cause = errors.Join(cause, a.discard(ctx, cause))
	}
	err := a.ends.sink.Close()
	if errors.Is(err, transfer.ErrLost) {
		a.state.ledger.clear() // the attempt's last save comes after this
	}
	return errors.Join(cause, err)
}

// afterComparison replaces a mismatch by the error of an image that changed while it was read, if
// that is the cause.
func (a *attempt) afterComparison(ctx context.Context, err error) error {
	if transfer.CodeOf(err) != transfer.CodeMismatch {
		return err
	}
	if changed := a.unchanged(ctx); changed != nil && !errors.Is(changed, transfer.ErrTouched) {
		err = changed
	}
	// A retried job compares everything again: the drive may have been changed to mend the
	// difference.
	a.state.ledger.clear()
	a.state.update(func(p *transfer.Progress) { p.Changed = nil })
	return errors.Join(err, a.state.save(ctx))
}

// unchanged returns the error of a source that has changed, or may have.
func (a *attempt) unchanged(ctx context.Context) error {
	if a.ends.changes == nil {
		return nil
	}
	return a.ends.changes.Unchanged(ctx)
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error { return flow.Wait(ctx, nil, d) }
