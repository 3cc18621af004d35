package worker

import (
	"context"
	"sync"

	"github.com/transferd/transferd/internal/transfer"
)

// gate holds back everything that goes to one drive while the drive is busy. 409 says something of the drive, not of a
// chunk: the first call that meets it closes the gate and goes on trying alone, so that a thousand chunks in flight never
// multiply the load of a drive that cannot serve them.
type gate struct {
	retry *retrier
	mu    sync.Mutex
	shut  chan struct{} // nil while open; closed by whoever opens the gate again
}

// do calls op with the gate open, and again for as long as the drive is busy, within the policy's patience.
func (g *gate) do(ctx context.Context, op func() error) error {
	for {
		if err := g.wait(ctx); err != nil {
			return err
		}
		err := op()
		if transfer.CodeOf(err).Retry() != transfer.RetryDrive {
			return err
		}
		if g.close() {
			defer g.open()
			return g.retry.while(ctx, transfer.RetryDrive, err, op)
		}
		g.retry.count.retry(transfer.CodeOf(err))
	}
}

func (g *gate) wait(ctx context.Context) error {
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut == nil {
		return ctx.Err()
	}
	select {
	case <-shut:
		return ctx.Err()
	case <-g.retry.drain:
		return errDrained
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close reports whether the caller closed the gate, and so is the one to probe.
func (g *gate) close() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut != nil {
		return false
	}
	g.shut = make(chan struct{})
	return true
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.shut)
	g.shut = nil
}
