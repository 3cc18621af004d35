package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/chunker"
	"github.com/transferd/transferd/internal/flow"
	"github.com/transferd/transferd/internal/transfer"
)

// attempt is one worker's try at a job.
type attempt struct {
	session *Session
	action  transfer.Action
	opener  Opener
	buffers *chunker.Buffers
	drain   <-chan struct{}
	log     *zap.Logger

	state   *checkpointer
	now     func() time.Time // by the clock of the store
	claimer transfer.Claimer // nil: nothing keeps jobs out of each other's way
	ends    *ends
	source  caller
	target  caller
	waits   *patience
	flusher *flusher // nil: the target stores what it is given by itself
	stop    context.CancelCauseFunc
	from    *takeover // the worker before this one
	unseen  string    // changes of the source that cannot be detected; for users
	// trusted says that no other job has written the target since this one last claimed it.
	trusted bool
	fresh   bool // this attempt was the first to ask for the target drive
}

var errEmpty = transfer.Errorf(transfer.CodeInvalid, "nothing came from the source", "the image is empty")

func newAttempt(w *Worker, drain <-chan struct{}, job Job, store transfer.Store) *attempt {
	log := w.cfg.Log.With(zap.String("job", job.ID))
	state := newCheckpointer(store, w.cfg.Observe, log)
	a := &attempt{
		session: &Session{Job: job, Meter: state.counters, Limit: newLimit(job.Spec.LimitRate), Lease: state.lease},
		action:  job.Spec.Action(), opener: w.cfg.Opener, buffers: &w.buffers, drain: drain, log: log,
		state: state, now: clock(store), claimer: claimer(store), ends: new(ends),
		from:  &takeover{lease: state.lease},
		waits: &patience{policy: w.cfg.Policy, count: state.counters, log: log, drain: drain},
	}
	a.source = newSourceCalls(a.ends, a.waits, job.Spec.Source.Endpoint)
	a.target = newTargetCalls(a.ends, a.waits, job.Spec.Target.Endpoint, state.lease, a.made)
	a.session.Retry = func(ctx context.Context, op func(ctx context.Context) error) error {
		return control(ctx, a.source, op)
	}
	return a
}

// made is when the job made the target drive, by this host's clock; zero: it did not.
func (a *attempt) made() time.Time {
	created := a.state.Plan().Created
	if created.IsZero() {
		return created
	}
	return time.Now().Add(created.Sub(a.now()))
}

func (a *attempt) spec() *transfer.Spec { return &a.session.Spec }

func (a *attempt) load(ctx context.Context) error {
	a.waits.reached = true // the store had the job a moment ago
	if err := a.storeCall(ctx, a.source, a.state.load); err != nil {
		return fmt.Errorf("load checkpoint: %w", err)
	}
	a.from.inherits(a.state.ledger)
	return nil
}

// storeCall makes a call to the store. One that is away is waited for like at a save: for as long
// as the job may run.
func (a *attempt) storeCall(ctx context.Context, end caller, run func(ctx context.Context) error) error {
	for {
		err := control(ctx, end, run)
		if transfer.CodeOf(err) != transfer.CodeUnreachable || ctx.Err() != nil {
			return err
		}
		a.log.Warn("store is away, waiting for it", zap.Error(err))
	}
}

// run goes through the phases, and logs what a failed one leaves behind.
func (a *attempt) run(ctx context.Context) error {
	err := a.inUse(ctx, a.changedSince(a.phases(ctx)))
	if err == nil {
		return a.markComplete(ctx)
	}
	if code := transfer.CodeOf(err); code == transfer.CodeDrained || code == transfer.CodeFenced {
		return err // another attempt goes on
	}
	plan := a.state.Plan()
	if left := plan.Leftover(a.session.ID, a.spec().Target); left != "" {
		a.log.Info("target drive stays incomplete", zap.String("left", left))
	}
	return err
}

func (a *attempt) phases(ctx context.Context) error {
	if err := a.claimDrives(ctx); err != nil {
		return a.abandon(ctx, err)
	}
	plan := a.state.Plan()
	a.waits.reached = plan.ChunkSize > 0 || !plan.Created.IsZero()
	if a.action.EndpointCopies {
		if err := a.awaitCopy(ctx); err != nil || a.spec().Verify == transfer.VerifyNone {
			return err
		}
	}
	return a.transfer(ctx)
}

// transfer opens both ends and carries or compares everything between them.
func (a *attempt) transfer(ctx context.Context) (err error) {
	if err := a.openSource(ctx); err != nil {
		return a.abandon(ctx, err)
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
	if err := a.markOpen(ctx); err != nil {
		return err
	}
	lay, err := a.settle(ctx, size)
	if err != nil {
		return err
	}
	err = a.carry(ctx, lay)
	if errors.Is(err, transfer.ErrInOrder) && a.ends.stream == nil {
		a.log.Info("reading the source again from its start", zap.Error(err))
		if err = a.reopenInOrder(ctx); err == nil {
			err = a.carry(ctx, lay)
		}
	}
	if !a.action.Writes {
		return a.compared(ctx, err) // nothing here is the job's own to remove
	}
	return err
}

// carry copies or compares, verifies and commits.
func (a *attempt) carry(ctx context.Context, lay layout) error {
	c := newCopier(a, lay)
	if err := c.copy(ctx, wholeImage); err != nil {
		return err
	}
	if err := a.proveSource(ctx, c); err != nil {
		return err
	}
	if err := c.clearTail(ctx); err != nil {
		return err
	}
	if err := c.finishTakeover(ctx); err != nil {
		return err
	}
	if err := c.verify(ctx); err != nil {
		return err
	}
	return a.commit(ctx, c)
}

// closeSink closes the target at the end of an attempt that met cause: what is done is made
// durable, and what no later attempt can go on with is removed.
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
		a.state.ledger.clear() // the last save of the attempt is still to come
	}
	return errors.Join(cause, err)
}

// compared tells a difference from an image that changed while it was read.
func (a *attempt) compared(ctx context.Context, err error) error {
	if transfer.CodeOf(err) != transfer.CodeMismatch {
		return err
	}
	if changed := a.unchanged(ctx); changed != nil && !errors.Is(changed, transfer.ErrTouched) {
		err = changed
	}
	// What was equal once need not be when the job is retried, perhaps because the rest was mended.
	a.state.ledger.clear()
	return errors.Join(err, a.state.save(ctx))
}

func (a *attempt) unchanged(ctx context.Context) error {
	if a.ends.changes == nil {
		return nil
	}
	return a.ends.changes.Unchanged(ctx)
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error { return flow.Wait(ctx, nil, d) }
