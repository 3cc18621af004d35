package flow

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func fixedLimit(n int) func() (both, each int) { return func() (both, each int) { return n, 0 } }

// do runs op as a call in direction dir.
func do(ctx context.Context, d *Duplex, dir Direction, op func() error) error {
	if err := d.Begin(ctx, dir); err != nil {
		return err
	}
	defer d.End(dir)
	return op()
}

// TestSharesFollowTheMeanTimeOfACall, not the number of calls in each direction.
func TestSharesFollowTheMeanTimeOfACall(t *testing.T) {
	d := NewDuplex(fixedLimit(8))
	for range 5 {
		d.Observe(Write, time.Second)
	}
	if w, r := d.maxCalls(Write), d.maxCalls(ReadBack); w != 4 || r != 4 {
		t.Errorf("before anything is read back: got %d writes, %d read back, want 4 and 4", w, r)
	}
	d.Observe(ReadBack, time.Second)
	d.rebalance()
	if w, r := d.maxCalls(Write), d.maxCalls(ReadBack); w != 4 || r != 4 {
		t.Errorf("calls that take equally long: got %d writes, %d read back, want 4 and 4", w, r)
	}
	for range 100 {
		d.Observe(Write, 100*time.Second)
		d.Observe(ReadBack, time.Second)
	}
	if w, r := d.maxCalls(Write), d.maxCalls(ReadBack); w != 8 || r != 1 {
		t.Errorf("slow writes: got %d writes, %d read back, want 8 and 1", w, r)
	}
}

// TestSharesChangeOncePerLimit: the shares change after as many calls as chunks are in flight. Each
// change halves the weight of older calls.
func TestSharesChangeOncePerLimit(t *testing.T) {
	d := NewDuplex(fixedLimit(8))
	observe := func(write time.Duration, pairs int) {
		for range pairs {
			d.Observe(Write, write)
			d.Observe(ReadBack, time.Second)
		}
	}
	observe(3*time.Second, 3)
	if w := d.maxCalls(Write); w != 4 {
		t.Errorf("after 6 of 8 calls: got %d writes, want 4", w)
	}
	observe(3*time.Second, 1)
	if w := d.maxCalls(Write); w != 6 {
		t.Errorf("after 8 calls: got %d writes, want 6", w)
	}
	observe(time.Second/3, 4) // weighs 2/3: a mean of 1.2 s
	if w := d.maxCalls(Write); w != 4 {
		t.Errorf("after 8 quicker ones: got %d writes, want 4", w)
	}
	for range 5 {
		observe(time.Second/3, 4)
	}
	if w := d.maxCalls(Write); w != 2 {
		t.Errorf("after 40 more: got %d writes, want 2", w)
	}
}

// TestSharesStayEqualForEqualTimes, whichever direction had more calls.
func TestSharesStayEqualForEqualTimes(t *testing.T) {
	d := NewDuplex(fixedLimit(16))
	for _, more := range []Direction{Write, ReadBack} {
		for i := range 16 {
			dir := more
			if i%4 == 0 {
				dir = 1 - more
			}
			d.Observe(dir, time.Second)
		}
		if w := d.maxCalls(Write); w != 8 {
			t.Errorf("more calls in direction %d: got %d writes, want 8", more, w)
		}
	}
}

// TestNoMoreCallsRunThanTheShare in each direction, and always at least one.
func TestNoMoreCallsRunThanTheShare(t *testing.T) {
	for limit, want := range map[int]int32{1: 1, 2: 1, 3: 2, 4: 2, 7: 4, 16: 8} {
		synctest.Test(t, func(t *testing.T) {
			d := NewDuplex(fixedLimit(limit))
			var running, most [2]atomic.Int32
			for i := range 60 {
				dir := Direction(i % 2)
				go func() {
					err := do(t.Context(), d, dir, func() error {
						n := running[dir].Add(1)
						most[dir].Store(max(most[dir].Load(), n))
						time.Sleep(time.Second)
						running[dir].Add(-1)
						return nil
					})
					if err != nil {
						t.Errorf("got %v, want no error", err)
					}
				}()
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			if w, r := most[Write].Load(), most[ReadBack].Load(); w != want || r != want {
				t.Errorf("limit %d: got %d writes and %d read back at once, want %d of each", limit, w, r, want)
			}
		})
	}
}

// TestWaitingCallsUseALimitThatGrew once a call ends, in either direction.
func TestWaitingCallsUseALimitThatGrew(t *testing.T) {
	for _, ends := range []Direction{Write, ReadBack} {
		synctest.Test(t, func(t *testing.T) {
			var limit, running atomic.Int32
			limit.Store(2)
			d := NewDuplex(func() (both, each int) { return int(limit.Load()), 0 })
			release := make(chan struct{})
			call := func(dir Direction, until <-chan struct{}) {
				_ = do(t.Context(), d, dir, func() error {
					if dir == Write {
						running.Add(1)
						defer running.Add(-1)
					}
					<-until
					return nil
				})
			}
			first := map[Direction]chan struct{}{Write: make(chan struct{}), ReadBack: make(chan struct{})}
			for dir, until := range first {
				go call(dir, until)
			}
			synctest.Wait()
			for range 6 {
				go call(Write, release)
			}
			synctest.Wait()
			if n := running.Load(); n != 1 {
				t.Errorf("limit 2: got %d writes, want 1", n)
			}
			limit.Store(8)
			close(first[ends])
			synctest.Wait()
			if n := running.Load(); n != 4 {
				t.Errorf("limit 8, after a call in direction %d ended: got %d writes, want 4", ends, n)
			}
			delete(first, ends)
			for _, until := range first {
				close(until)
			}
			close(release)
			synctest.Wait()
			if n := running.Load(); n != 0 {
				t.Errorf("got %d writes that never end, want 0", n)
			}
		})
	}
}

// TestFailedCallsFreeTheirSlot, whether the call fails or its context ends while it waits.
func TestFailedCallsFreeTheirSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := NewDuplex(fixedLimit(2))
		failed := errors.New("injected")
		if err := do(t.Context(), d, Write, func() error { return failed }); !errors.Is(err, failed) {
			t.Errorf("got %v, want %v", err, failed)
		}
		err := do(t.Context(), d, Write, func() error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return do(ctx, d, Write, func() error {
				t.Error("a second write ran, want one at a time")
				return nil
			})
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
		}
		ran := false
		if err := do(t.Context(), d, Write, func() error { ran = true; return nil }); err != nil || !ran {
			t.Errorf("after two failed calls: ran %v with error %v, want true without an error", ran, err)
		}
	})
}

// TestNilDuplexLimitsNothing, and accepts observations.
func TestNilDuplexLimitsNothing(t *testing.T) {
	var d *Duplex
	d.Observe(Write, time.Second)
	ran := 0
	err := do(t.Context(), d, Write, func() error {
		return do(t.Context(), d, Write, func() error { ran++; return nil })
	})
	if err != nil || ran != 1 {
		t.Errorf("ran %d times with error %v, want once without", ran, err)
	}
}

// TestMeasuredCallsDoNotDrift: with a known number of calls for each direction, how long they take
// changes nothing.
func TestMeasuredCallsDoNotDrift(t *testing.T) {
	d := NewDuplex(func() (both, each int) { return 8, 3 })
	for range 100 {
		d.Observe(Write, time.Second)
		d.Observe(ReadBack, time.Millisecond)
	}
	for _, dir := range []Direction{Write, ReadBack} {
		if got := d.maxCalls(dir); got != 3 {
			t.Errorf("direction %d: got %d calls, want 3", dir, got)
		}
	}
}
