package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/flow"
	"github.com/transferd/transferd/internal/lease"
	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/verify"
)

const (
	// saveEvery is how often progress reaches the store.
	saveEvery = time.Second
	// saveTimeout bounds one save, so that a store that hangs does not block the next save for
	// ever.
	saveTimeout = 10 * time.Second
	// stopTimeout bounds the work after the job has ended or was stopped.
	stopTimeout = 10 * time.Second
)

// checkpointer owns the state of an attempt: plan, progress and ledger. It saves them about once a
// second while the attempt runs, which also renews the worker's lease. It is safe for concurrent
// use.
type checkpointer struct {
	store   transfer.Store
	lease   *lease.Lease            // on the store's job
	observe func(transfer.Progress) // may be nil
	log     *zap.Logger

	*counters
	ledger *ledger

	saving chan struct{} // has a token while a save runs
	waits  waitLog       // used by that save

	mu     sync.Mutex
	ending bool // the job has ended, and only undoes what it owes
	plan   transfer.Plan
	saved  chan struct{} // closed and replaced when a save succeeds
}

func newCheckpointer(store transfer.Store, observe func(transfer.Progress), log *zap.Logger) *checkpointer {
	return &checkpointer{
		store: store, lease: leaseOf(store), observe: observe, log: log, waits: waitLog{log: log},
		counters: new(counters), ledger: newLedger(nil),
		saving: make(chan struct{}, 1), saved: make(chan struct{}),
	}
}

// load restores what earlier attempts saved.
func (c *checkpointer) load(ctx context.Context) error {
	at, err := c.store.Load(ctx)
	if err != nil {
		return err
	}
	if err := at.Validate(); err != nil {
		return err
	}
	c.ledger = newLedger(at.Entries)
	at.Progress.Digest.Algorithm = verify.Algorithm
	c.restore(&at.Progress)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.plan = at.Plan
	return nil
}

// Plan returns the present plan.
func (c *checkpointer) Plan() transfer.Plan {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.plan
}

// end makes later saves those of a job that has ended.
func (c *checkpointer) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ending = true
}

func (c *checkpointer) isEnding() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ending
}

// updatePlan changes the plan. The next save stores it.
func (c *checkpointer) updatePlan(change func(p *transfer.Plan)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.plan)
}

// setSize records the size of the image in bytes, and how many chunks follow the image. A size of
// -1, not known yet, is ignored.
func (c *checkpointer) setSize(size, more int64) {
	if size < 0 {
		return
	}
	c.updatePlan(func(p *transfer.Plan) { p.Size = size })
	chunkSize := c.Plan().ChunkSize
	c.update(func(p *transfer.Progress) { p.Size, p.Chunks.Total = size, transfer.ChunkCount(size, chunkSize)+more })
}

// save saves the changes since the last save. After an error they remain to be saved.
func (c *checkpointer) save(ctx context.Context) error { return c.checkpoint(ctx, false) }

// checkpoint is save. interim says that another save follows within a second.
func (c *checkpointer) checkpoint(ctx context.Context, interim bool) error {
	select {
	case c.saving <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-c.saving }()
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	began := time.Now()
	entries, reset := c.ledger.takeUnsaved()
	at := transfer.Checkpoint{
		Plan: c.Plan(), Progress: c.snapshot(), Reset: reset, Entries: entries, Interim: interim, Ending: c.isEnding(),
	}
	c.waits.update(at.Progress.Waiting)
	if err := c.store.Save(ctx, &at); err != nil {
		c.ledger.returnUnsaved(entries, reset)
		return fmt.Errorf("save progress: %w", err)
	}
	c.ledger.setSaved(time.Since(began))
	c.wakeWaiters()
	if c.observe != nil && !interim {
		c.observe(at.Progress)
	}
	return nil
}

// wakeWaiters wakes the goroutines that wait for a save.
func (c *checkpointer) wakeWaiters() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.saved)
	c.saved = make(chan struct{})
}

// saveUntilDone saves, and retries while the store is unreachable, for as long as ctx lasts. To
// continue without the save could lose a drive or run a finished job again. Nil means that the job
// was still this worker's during the save: nothing is removed, renamed or committed without that
// fresh proof.
func (c *checkpointer) saveUntilDone(ctx context.Context) error {
	for {
		err := c.save(ctx)
		if err == nil || isFinal(err) || ctx.Err() != nil {
			return err
		}
		c.log.Warn("store unreachable, retrying", zap.Error(err))
		if err := sleep(ctx, saveEvery); err != nil {
			return err
		}
	}
}

// isFinal reports whether a save's error ends the attempt: another worker owns the job, the job was
// canceled, or the store has rejected the data.
func isFinal(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	return transfer.CodeOf(err).Retry() == transfer.RetryNever
}

// admitChunk waits until a chunk may begin: there is proof of the lease, and few chunks are
// unsaved.
func (c *checkpointer) admitChunk(ctx context.Context, drain <-chan struct{}) error {
	for {
		c.mu.Lock()
		saved := c.saved
		c.mu.Unlock()
		renewed := c.lease.Renewal()
		if c.lease.Check() == nil && c.ledger.acceptsMore() {
			return ctx.Err()
		}
		select {
		case <-saved:
		case <-renewed:
		case <-drain:
			return flow.ErrDrained
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// saveLoop saves about once a second, and earlier when several chunks are done, until ctx ends. If
// the store ends the attempt, it calls stop. While the store is unreachable, admitChunk limits how
// many more chunks are done.
func (c *checkpointer) saveLoop(ctx context.Context, stop context.CancelCauseFunc) {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		interim := false
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-c.ledger.saveDue:
			interim = true
		}
		err := c.checkpoint(ctx, interim)
		switch {
		case err == nil || ctx.Err() != nil:
		case isFinal(err):
			stop(err)
			return
		default:
			c.log.Warn("store unreachable, retrying", zap.Error(err))
			if sleep(ctx, saveEvery) != nil {
				return
			}
		}
	}
}

// runWithSaves runs an attempt and saves its state before, during and after it, even after a panic.
func (c *checkpointer) runWithSaves(ctx context.Context, stop context.CancelCauseFunc, attempt func() error) error {
	// The load proves no ownership: another worker may have taken the job over since.
	if err := c.saveUntilDone(ctx); err != nil {
		return err
	}
	saving, cancel := context.WithCancel(ctx)
	saved := panics.Go(func() { c.saveLoop(saving, stop) }, stop)
	err := panics.Catch(attempt) // the state is saved after a panic, too
	cancel()
	saved()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if saveErr := c.save(last); saveErr != nil {
		c.log.Warn("last save of the attempt failed", zap.Error(saveErr))
		// A worker that has lost the job does not report the attempt's own error.
		if err == nil && isFinal(saveErr) || transfer.CodeOf(saveErr) == transfer.CodeFenced {
			return saveErr
		}
	}
	return err
}
