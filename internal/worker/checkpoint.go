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
	// saveTimeout bounds one save: a store that hangs must not keep the next save waiting for ever.
	saveTimeout = 10 * time.Second
	// stopTimeout bounds what is done after the job was told to stop.
	stopTimeout = 10 * time.Second
)

// checkpointer owns what an attempt remembers: the plan, the progress and the ledger. It saves them
// about once a second for as long as the attempt runs, which also renews the worker's lease. It is
// safe for concurrent use.
type checkpointer struct {
	store   transfer.Store
	lease   *lease.Lease            // on the store's job
	observe func(transfer.Progress) // may be nil
	log     *zap.Logger

	*counters
	ledger *ledger

	saving chan struct{} // has a token while a save is under way
	waits  waitLog       // of that save

	mu    sync.Mutex
	plan  transfer.Plan
	saved chan struct{} // closed and replaced when a save succeeds
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

// Plan returns what the attempts of the job have settled so far.
func (c *checkpointer) Plan() transfer.Plan {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.plan
}

// updatePlan changes the plan; the next save stores it.
func (c *checkpointer) updatePlan(change func(p *transfer.Plan)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.plan)
}

// setSize notes the size of the image, bytes, and how many chunks follow it; -1: it is not known
// yet.
func (c *checkpointer) setSize(size, more int64) {
	if size < 0 {
		return
	}
	c.updatePlan(func(p *transfer.Plan) { p.Size = size })
	chunkSize := c.Plan().ChunkSize
	c.update(func(p *transfer.Progress) { p.Size, p.Chunks.Total = size, transfer.ChunkCount(size, chunkSize)+more })
}

// save writes what is new to the store. What could not be written stays pending.
func (c *checkpointer) save(ctx context.Context) error { return c.checkpoint(ctx, false) }

// checkpoint is save, or with soon one that another follows within a second.
func (c *checkpointer) checkpoint(ctx context.Context, soon bool) error {
	select {
	case c.saving <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-c.saving }()
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	began := time.Now()
	entries, reset := c.ledger.take()
	at := transfer.Checkpoint{Plan: c.Plan(), Progress: c.snapshot(), Reset: reset, Entries: entries, Soon: soon}
	c.waits.note(at.Progress.Waiting)
	if err := c.store.Save(ctx, &at); err != nil {
		c.ledger.giveBack(entries, reset)
		return fmt.Errorf("save progress: %w", err)
	}
	c.ledger.kept(time.Since(began))
	c.wake()
	if c.observe != nil && !soon {
		c.observe(at.Progress)
	}
	return nil
}

// wake wakes the goroutines that wait for a save.
func (c *checkpointer) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.saved)
	c.saved = make(chan struct{})
}

// saveSurely saves before anything else may happen, and waits for a store that is away for as long
// as ctx lasts: to go on without it could lose a drive or run a finished job again. When it returns
// nil, the job was still this worker's a moment ago: it is the fresh proof without which nothing is
// destroyed, renamed or committed.
func (c *checkpointer) saveSurely(ctx context.Context) error {
	for {
		err := c.save(ctx)
		if err == nil || isFinal(err) || ctx.Err() != nil {
			return err
		}
		c.log.Warn("store is away, waiting for it", zap.Error(err))
		if err := sleep(ctx, saveEvery); err != nil {
			return err
		}
	}
}

// isFinal reports whether a save's error means that this attempt is over: another worker owns the job,
// or the store, which is there, cannot keep what it is given.
func isFinal(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	return transfer.CodeOf(err).Retry() == transfer.RetryNever
}

// room waits until a chunk may begin: the lease is proven, and not too many chunks are unsaved.
func (c *checkpointer) room(ctx context.Context, drain <-chan struct{}) error {
	for {
		c.mu.Lock()
		saved := c.saved
		c.mu.Unlock()
		renewed := c.lease.Renewal()
		if c.lease.Check() == nil && c.ledger.hasRoom() {
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

// keepSaving saves about once a second, and soon after a few chunks are done, until ctx ends. When
// the store says that the attempt is over, it calls stop. While the store is away, chunks are done
// for as long as room allows.
func (c *checkpointer) keepSaving(ctx context.Context, stop context.CancelCauseFunc) {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		soon := false
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-c.ledger.full:
			soon = true
		}
		err := c.checkpoint(ctx, soon)
		switch {
		case err == nil || ctx.Err() != nil:
		case isFinal(err):
			stop(err)
			return
		default:
			c.log.Warn("store is away, waiting for it", zap.Error(err))
			if sleep(ctx, saveEvery) != nil {
				return
			}
		}
	}
}

// whileSaving runs an attempt with its state saved before it, meanwhile, and once more at its end,
// however it ends.
func (c *checkpointer) whileSaving(ctx context.Context, stop context.CancelCauseFunc, attempt func() error) error {
	// What was loaded proves nothing: another worker may have taken the job since.
	if err := c.saveSurely(ctx); err != nil {
		return err
	}
	saving, cancel := context.WithCancel(ctx)
	saved := panics.Go(func() { c.keepSaving(saving, stop) }, stop)
	err := panics.Catch(attempt) // what is done is saved after a panic, too
	cancel()
	saved()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if saveErr := c.save(last); saveErr != nil {
		c.log.Warn("last save of this attempt failed", zap.Error(saveErr))
		// Whatever else the attempt has met is not for a worker to report that lost the job.
		if err == nil && isFinal(saveErr) || transfer.CodeOf(saveErr) == transfer.CodeFenced {
			return saveErr
		}
	}
	return err
}
