package flow

import (
	"context"
	"sync"
)

// A Breaker is the circuit breaker of one drive. A busy drive (409) is busy for every chunk: the call
// that meets it first trips the breaker and goes on trying alone, and all others wait, so that a
// thousand chunks in flight never multiply the load of a drive that cannot serve them. The zero
// Breaker lets all calls pass. It is safe for concurrent use.
type Breaker struct {
	mu      sync.Mutex
	tripped chan struct{} // closed by Reset; nil: calls pass
}

// Wait returns when the breaker lets calls pass, with ErrDrained when drain closes, or with ctx's
// error when ctx ends.
func (b *Breaker) Wait(ctx context.Context, drain <-chan struct{}) error {
	b.mu.Lock()
	tripped := b.tripped
	b.mu.Unlock()
	if tripped == nil {
		return ctx.Err()
	}
	select {
	case <-tripped:
		return ctx.Err()
	case <-drain:
		return ErrDrained
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Trip holds calls back, and reports whether it was the caller who did so: then the caller tries
// alone, and calls Reset in the end.
func (b *Breaker) Trip() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tripped != nil {
		return false
	}
	b.tripped = make(chan struct{})
	return true
}

// Reset lets calls pass again.
func (b *Breaker) Reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.tripped)
	b.tripped = nil
}
