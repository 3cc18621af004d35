package lease

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const lasts = 15 * time.Second // so that a renewal proves for 10

// virtual makes a lease with the clock of a synctest bubble. suspended is how long the host was
// suspended, in ns: by that the lease's clock is ahead of the bubble's.
func virtual() (l *Lease, suspended *atomic.Int64) {
	began := time.Now()
	suspended = new(atomic.Int64)
	return New(func() time.Duration { return time.Since(began) + time.Duration(suspended.Load()) }, lasts), suspended
}

func TestProofLapsesBeforeTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := virtual()
		if !errors.Is(l.Check(), ErrLapsed) {
			t.Error("before the first renewal: got a proof")
		}
		sent := l.Now()
		time.Sleep(4 * time.Second) // until the answer
		l.Renewed(sent)
		time.Sleep(6*time.Second - time.Nanosecond)
		if err := l.Check(); err != nil {
			t.Errorf("1 ns before the end of the proof: got %v, want no error", err)
		}
		time.Sleep(time.Nanosecond)
		if !errors.Is(l.Check(), ErrLapsed) {
			t.Error("10 s after the renewal was sent: got a proof")
		}
	})
}

func TestLateAnswerDoesNotShortenTheProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := virtual()
		early := l.Now()
		time.Sleep(3 * time.Second)
		l.Renewed(l.Now())
		l.Renewed(early)
		time.Sleep(9 * time.Second)
		if err := l.Check(); err != nil {
			t.Errorf("9 s after the newer renewal: got %v, want no error", err)
		}
	})
}

func TestProofLapsesWhileTheHostIsSuspended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, suspended := virtual()
		l.Renewed(l.Now())
		suspended.Store(int64(time.Hour))
		if !errors.Is(l.Check(), ErrLapsed) {
			t.Error("after an hour of suspension: got a proof")
		}
	})
}

func TestBoottimeRuns(t *testing.T) {
	before := Boottime()
	if after := Boottime(); before <= 0 || after < before {
		t.Errorf("got %s and then %s, want positive times in order", before, after)
	}
}

func TestBoundCallIsCutWhenTheProofLapses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := virtual()
		l.Renewed(l.Now())
		began := time.Now()
		ctx, release := l.Bind(t.Context())
		defer release()
		time.Sleep(8 * time.Second)
		l.Renewed(l.Now())
		<-ctx.Done()
		if took := time.Since(began); took != 18*time.Second || !Cut(ctx, ctx.Err()) {
			t.Errorf("got an end after %s with the cause %v, want 18 s and %v", took, context.Cause(ctx), ErrLapsed)
		}
	})
}

func TestReleasedCallIsNotCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := virtual()
		l.Renewed(l.Now())
		ctx, release := l.Bind(t.Context())
		release()
		time.Sleep(time.Minute)
		if Cut(ctx, context.Canceled) {
			t.Error("got a cut after the call was released")
		}
	})
}

func TestAwaitWaitsForARenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := virtual()
		began := time.Now()
		time.AfterFunc(time.Hour, func() { l.Renewed(l.Now()) })
		if err := l.Await(t.Context()); err != nil || time.Since(began) != time.Hour {
			t.Errorf("got %v after %s, want no error after an hour", err, time.Since(began))
		}
		time.Sleep(time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.Await(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without a renewal: got %v, want %v", err, context.DeadlineExceeded)
		}
	})
}

func TestLateCountsDownAndStaysUnclean(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := virtual()
		if left, unclean := l.Late(); left != 0 || unclean {
			t.Errorf("without a takeover: got %s, %v; want 0s, false", left, unclean)
		}
		l.TookOver(20 * time.Second)
		time.Sleep(5 * time.Second)
		if left, unclean := l.Late(); left != 15*time.Second || !unclean {
			t.Errorf("after 5 of 20 s: got %s, %v; want 15s, true", left, unclean)
		}
		time.Sleep(time.Hour)
		if left, unclean := l.Late(); left != 0 || !unclean {
			t.Errorf("after an hour: got %s, %v; want 0s, true", left, unclean)
		}
	})
}

func TestNilLeaseHolds(t *testing.T) {
	var l *Lease
	ctx, release := l.Bind(t.Context())
	release()
	if err := errors.Join(l.Check(), l.Await(ctx)); err != nil || ctx.Err() != nil {
		t.Errorf("got %v and the context's error %v, want none", err, ctx.Err())
	}
	if _, unclean := l.Late(); unclean {
		t.Error("got an unclean takeover, want none")
	}
}

// TestSettledAfterTheTimeOfLateBytes: a job is settled by a Settle after that time, and until the
// next worker may have been lost.
func TestSettledAfterTheTimeOfLateBytes(t *testing.T) {
	var now time.Duration
	l := New(func() time.Duration { return now }, 15*time.Second)
	if !l.Settled() || l.Settle() != 0 {
		t.Error("without a lost worker: got an unsettled job, want a settled one")
	}
	for range 2 {
		l.TookOver(20 * time.Second)
		now += 5 * time.Second
		if got := l.Settle(); got != 15*time.Second || l.Settled() {
			t.Errorf("early: got %s left, settled %t; want 15s, false", got, l.Settled())
		}
		now += 15 * time.Second
		if l.Settled() {
			t.Error("late bytes could arrive since the last Settle: got a settled job")
		}
		if got := l.Settle(); got != 0 || !l.Settled() {
			t.Errorf("got %s left, settled %t; want 0s, true", got, l.Settled())
		}
	}
	var none *Lease
	if !none.Settled() || none.Settle() != 0 {
		t.Error("without a lease: got an unsettled job, want a settled one")
	}
}
