package flow

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
)

// TestSequencerRunsInOrder, whatever the order in which goroutines call it.
func TestSequencerRunsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSequencer()
		var order []int64
		for _, n := range rand.Perm(50) {
			go func() {
				err := s.Do(t.Context(), int64(n), func() error {
					order = append(order, int64(n))
					return nil
				})
				if err != nil {
					t.Errorf("operation %d: got %v, want no error", n, err)
				}
			}()
		}
		synctest.Wait()
		if len(order) != 50 || !slices.IsSorted(order) {
			t.Errorf("got the order %v, want 0 to 49", order)
		}
	})
}

// TestSequencerStopsAtAnError: no operation runs after one that failed, and waiting ones end with
// their context.
func TestSequencerStopsAtAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s, done := NewSequencer(), make(chan error, 1)
		go func() {
			done <- s.Do(ctx, 1, func() error {
				t.Error("operation 1 ran after operation 0 had failed")
				return nil
			})
		}()
		failed := errors.New("injected")
		if err := s.Do(ctx, 0, func() error { return failed }); !errors.Is(err, failed) {
			t.Errorf("operation 0: got %v, want %v", err, failed)
		}
		synctest.Wait()
		select {
		case err := <-done:
			t.Errorf("operation 1 did not wait, it returned %v", err)
		default:
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("operation 1: got %v, want %v", err, context.Canceled)
		}
	})
}

// TestSequencerContinuesAfterARetry: after an operation failed, or its context ended, a later
// success with the same number releases the next one.
func TestSequencerContinuesAfterARetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, done := NewSequencer(), make(chan error, 1)
		succeed := func() error { return nil }
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Do(canceled, 1, succeed); !errors.Is(err, context.Canceled) {
			t.Errorf("operation 1 waits with a canceled context: got %v, want %v", err, context.Canceled)
		}
		err := s.Do(canceled, 0, func() error {
			t.Error("operation 0 ran with a canceled context")
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("operation 0 with a canceled context: got %v, want %v", err, context.Canceled)
		}
		if err := s.Do(t.Context(), 0, func() error { return errors.New("injected") }); err == nil {
			t.Error("operation 0: got no error, want the injected one")
		}
		go func() { done <- s.Do(t.Context(), 1, succeed) }()
		synctest.Wait()
		if err := s.Do(t.Context(), 0, succeed); err != nil {
			t.Errorf("operation 0 again: got %v, want no error", err)
		}
		if err := <-done; err != nil {
			t.Errorf("operation 1 again: got %v, want no error", err)
		}
	})
}
