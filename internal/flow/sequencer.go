package flow

import (
	"context"
	"sync"
)

// Sequencer lets goroutines that finish out of order do something in order: number n proceeds once all below n are done.
type Sequencer struct {
	mu      sync.Mutex
	next    int64
	waiting map[int64]chan struct{}
}

// NewSequencer begins with number 0.
func NewSequencer() *Sequencer { return &Sequencer{waiting: make(map[int64]chan struct{})} }

// Do waits for n's turn, does do, and passes the turn on. With an error the turn stays, for nothing after it may
// proceed; each number is taken once.
func (t *Sequencer) Do(ctx context.Context, n int64, do func() error) error {
	if err := t.wait(ctx, n); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next = n + 1
	if c, ok := t.waiting[t.next]; ok {
		close(c)
		delete(t.waiting, t.next)
	}
	return nil
}

func (t *Sequencer) wait(ctx context.Context, n int64) error {
	t.mu.Lock()
	if t.next == n {
		t.mu.Unlock()
		return ctx.Err()
	}
	c := make(chan struct{})
	t.waiting[n] = c
	t.mu.Unlock()
	select {
	case <-c:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}
