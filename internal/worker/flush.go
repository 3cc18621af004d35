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

// flusher makes durable what is written to a target before the ledger has it. It does so apart from
// the saves, which renew the lease and must not wait for a slow disk. A nil one does nothing. It is
// safe for concurrent use.
type flusher struct {
	sink   transfer.Flusher
	ledger *ledger
	log    *zap.Logger
	end    func() // ends the flushes in the background, and waits for them

	mu   sync.Mutex // held by the one flush that is under way
	lost error      // the target may have lost something; another flush may succeed and mean nothing
}

// flushEvery is how often a target is flushed, unless many chunks are waiting for it.
const flushEvery = time.Second

// newFlusher flushes a target in the background until stop is called. It calls lost with the error
// when the target may have lost something.
func newFlusher(ctx context.Context, sink transfer.Flusher, l *ledger, log *zap.Logger, lost func(error)) *flusher {
	f := &flusher{sink: sink, ledger: l, log: log}
	l.setFlushed(true)
	ctx, cancel := context.WithCancel(ctx)
	wait := panics.Go(func() { f.keepFlushing(ctx, lost) }, lost)
	f.end = func() {
		cancel()
		wait()
	}
	return f
}

func (f *flusher) keepFlushing(ctx context.Context, lost func(error)) {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-f.ledger.written:
		}
		err := f.flush(ctx)
		switch {
		case err == nil || ctx.Err() != nil:
		case errors.Is(err, transfer.ErrLost):
			lost(err)
			return
		default:
			f.log.Warn("flush failed, trying again", zap.Error(err))
		}
	}
}

// flush makes durable all chunks that were done before it, and lets them be saved.
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

// stop ends the flushes, with a last one: after that, chunks which are not flushed are not done.
func (f *flusher) stop(ctx context.Context) error {
	if f == nil {
		return nil
	}
	f.end()
	defer f.ledger.setFlushed(false)
	if f.ledger.unflushed() == 0 {
		return f.lost
	}
	return f.flush(ctx)
}
