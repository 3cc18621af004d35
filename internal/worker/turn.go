package worker

import (
	"context"
	"sync"
)

// turns lets goroutines that finish out of order do something in order: number n proceeds once all below n are done.
type turns struct {
	mu      sync.Mutex
	next    int64
	waiting map[int64]chan struct{}
}

func newTurns() *turns { return &turns{waiting: make(map[int64]chan struct{})} }

// take waits for n's turn, does do, and passes the turn on. With an error the turn stays, for nothing after it may
// proceed; each number is taken once.
func (t *turns) take(ctx context.Context, n int64, do func() error) error {
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

func (t *turns) wait(ctx context.Context, n int64) error {
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
