package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/transfer"
)

const (
	// saveEvery is how often progress reaches the store while chunks are being done.
	saveEvery = time.Second
	// saveTimeout bounds one save: a store that hangs must not keep the next save waiting for ever.
	saveTimeout = 10 * time.Second
	// stopTimeout bounds what is done after the job was told to stop.
	stopTimeout = 10 * time.Second
)

// save writes what is new to the store. What could not be written stays pending.
func (r *run) save(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	entries, reset := r.ledger.take()
	at := transfer.Checkpoint{Plan: r.task.Plan, Progress: r.count.snapshot(), Reset: reset, Entries: entries}
	if err := r.store.Save(ctx, &at); err != nil {
		r.ledger.giveBack(entries, reset)
		return fmt.Errorf("save progress: %w", err)
	}
	r.ledger.keep()
	if r.worker.cfg.Observe != nil {
		r.worker.cfg.Observe(at.Progress)
	}
	return nil
}

// saveSurely saves before anything else may happen, and waits for a store that is away for as long as ctx lasts: going
// on without it could lose a drive or run a finished job again.
func (r *run) saveSurely(ctx context.Context) error {
	for {
		err := r.save(ctx)
		if err == nil || ends(err) || ctx.Err() != nil {
			return err
		}
		r.log.Warn("store is away, waiting for it", zap.Error(err))
		if err := sleep(ctx, saveEvery); err != nil {
			return err
		}
	}
}

// ends reports whether a save's error means that this attempt is over: the job is not ours any more, or the store, which is
// there, cannot keep what it is given.
func ends(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	return transfer.CodeOf(err).Retry() == transfer.RetryNever
}

// keepSaving saves about once a second, or sooner when many chunks are pending, until ctx ends, and stops the job if the
// store says that it is over. While the store is away chunks are done for as long as the ledger has room.
func (r *run) keepSaving(ctx context.Context) {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-r.ledger.full:
		}
		err := r.save(ctx)
		switch {
		case err == nil || ctx.Err() != nil:
		case ends(err):
			r.stop(err)
			return
		default:
			r.log.Warn("store is away, waiting for it", zap.Error(err))
			if sleep(ctx, saveEvery) != nil {
				return
			}
		}
	}
}

// whileSaving runs do with progress saved beside it, and once more at its end, however it ends.
func (r *run) whileSaving(ctx context.Context, do func() error) error {
	r.ledger.keep() // all that is done until here is saved
	saving, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.keepSaving(saving)
	}()
	err := do()
	stop()
	<-done
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if saveErr := r.save(last); saveErr != nil {
		r.log.Warn("last save of this attempt", zap.Error(saveErr))
		if err == nil && ends(saveErr) {
			return saveErr
		}
	}
	return err
}
