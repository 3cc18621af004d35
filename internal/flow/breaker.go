package flow

import (
	"context"
	"sync"
)

// A Breaker is the circuit breaker of one drive. A busy drive (409) is busy for every chunk. The
// first call that is refused trips the breaker and keeps retrying alone; all others wait. So many
// chunks in flight do not multiply the load of a busy drive. The zero Breaker is closed: it lets
// all calls pass. It is safe for concurrent use.
type Breaker struct {
	mu      sync.Mutex
	tripped chan struct{} // closed by Reset; nil: calls pass
}

// Wait returns nil once the breaker lets calls pass, ErrDrained when drain closes, and ctx's error
// when ctx ends.
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

// Trip opens the breaker. It reports whether this call did so: then the caller alone retries, and
// finally calls Reset. False means that the breaker is open already.
func (b *Breaker) Trip() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tripped != nil {
		return false
	}
	b.tripped = make(chan struct{})
	return true
}

// Reset closes the breaker. Only the caller whose Trip returned true calls it, once.
func (b *Breaker) Reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.tripped)
	b.tripped = nil
}
