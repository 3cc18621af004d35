package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/transfer"
)

// flusher flushes a target, so that the ledger has only durable chunks. It runs apart from the
// saves, which renew the lease and must not wait for a slow disk. A nil flusher does nothing. It is
// safe for concurrent use.
type flusher struct {
	sink   transfer.Flusher
	ledger *ledger
	log    *zap.Logger
	end    func() // ends the flushes in the background and waits for them

	mu   sync.Mutex // held during a flush
	lost error      // the target may have lost writes; a later flush that succeeds proves nothing
}

// flushEvery is how often a target is flushed, unless many chunks wait for a flush.
const flushEvery = time.Second

// newFlusher returns a flusher that flushes in the background until stop. It calls lost with the
// error of a target that may have lost writes.
func newFlusher(ctx context.Context, sink transfer.Flusher, l *ledger, log *zap.Logger, lost func(error)) *flusher {
	f := &flusher{sink: sink, ledger: l, log: log}
	l.setNeedsFlush(true)
	ctx, cancel := context.WithCancel(ctx)
	wait := panics.Go(func() { f.flushLoop(ctx, lost) }, lost)
	f.end = func() {
		cancel()
		wait()
	}
	return f
}

// flushLoop flushes until ctx ends or the target has lost writes.
func (f *flusher) flushLoop(ctx context.Context, lost func(error)) {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-f.ledger.flushDue:
		}
		err := f.flush(ctx)
		switch {
		case err == nil || ctx.Err() != nil:
		case errors.Is(err, transfer.ErrLost):
			lost(err)
			return
		default:
			f.log.Warn("flush failed, retrying", zap.Error(err))
		}
	}
}

// flush makes all chunks durable that were done before, and releases them to be saved.
func (f *flusher) flush(ctx context.Context) error {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lost != nil {
		return f.lost
	}
	n := f.ledger.unflushed()
	if err := f.sink.Flush(ctx); err != nil {
		err = fmt.Errorf("flush target: %w", err)
		if errors.Is(err, transfer.ErrLost) {
			f.lost = err
		}
		return err
	}
	f.ledger.flushed(n)
	return nil
}

// stop ends the background flushes and flushes once more. Chunks that are still not flushed are no
// longer done.
func (f *flusher) stop(ctx context.Context) error {
	if f == nil {
		return nil
	}
	f.end()
	defer f.ledger.setNeedsFlush(false)
	if f.ledger.unflushed() == 0 {
		return f.lost
	}
	return f.flush(ctx)
}
