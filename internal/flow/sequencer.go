package flow

import (
	"context"
	"sync"
)

// A Sequencer runs numbered operations of concurrent goroutines in order: operation n runs after
// the operations 0 to n-1 have succeeded. It is safe for concurrent use.
type Sequencer struct {
	mu      sync.Mutex
	next    int64                   // the number that runs next
	waiting map[int64]chan struct{} // by number; closed when the number is next
}

// NewSequencer returns a Sequencer whose first operation is number 0.
func NewSequencer() *Sequencer { return &Sequencer{waiting: make(map[int64]chan struct{})} }

// Do waits until all operations before n have succeeded, then runs op in the caller's goroutine and
// releases operation n+1. It returns op's error, or ctx's error if ctx ends before op begins. After
// an error no later operation runs until Do succeeds for n. Each number succeeds once, and one
// goroutine at a time calls Do for it.
func (s *Sequencer) Do(ctx context.Context, n int64, op func() error) error {
	if err := s.wait(ctx, n); err != nil {
		return err
	}
	if err := op(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = n + 1
	if c, ok := s.waiting[s.next]; ok {
		close(c)
		delete(s.waiting, s.next)
	}
	return nil
}

func (s *Sequencer) wait(ctx context.Context, n int64) error {
	s.mu.Lock()
	if s.next == n {
		s.mu.Unlock()
		return ctx.Err()
	}
	c := make(chan struct{})
	s.waiting[n] = c
	s.mu.Unlock()
	select {
	case <-c:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}
