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

// virtual is a lease on the virtual clock of a synctest bubble. suspended is how far the lease's
// clock is ahead of the bubble's, in ns: the time for which the host was suspended.
func virtual() (l *Lease, suspended *atomic.Int64) {
	began := time.Now()
	suspended = new(atomic.Int64)
	return New(func() time.Duration { return time.Since(began) + time.Duration(suspended.Load()) }, lasts), suspended
}

func TestProofLapsesBeforeTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := virtual()
		if !errors.Is(l.Check(), ErrLapsed) {
			t.Error("a lease that was never renewed holds")
		}
		sent := l.Now()
		time.Sleep(4 * time.Second) // the answer takes long
		l.Renewed(sent)
		time.Sleep(6*time.Second - time.Nanosecond)
		if err := l.Check(); err != nil {
			t.Errorf("10 s less 1 ns after the renewal was sent: %v", err)
		}
		time.Sleep(time.Nanosecond)
		if !errors.Is(l.Check(), ErrLapsed) {
			t.Error("it holds 10 s after the renewal was sent")
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
			t.Error(err)
		}
	})
}

func TestProofLapsesWhileTheHostIsSuspended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, suspended := virtual()
		l.Renewed(l.Now())
		suspended.Store(int64(time.Hour))
		if !errors.Is(l.Check(), ErrLapsed) {
			t.Error("it holds after an hour of suspension")
		}
	})
}

func TestBoottimeRuns(t *testing.T) {
	before := Boottime()
	if after := Boottime(); before <= 0 || after < before {
		t.Errorf("%s, then %s", before, after)
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
			t.Errorf("it ended after %s with %v", took, context.Cause(ctx))
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
			t.Error("a call that was over was cut")
		}
	})
}

func TestAwaitWaitsForARenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := virtual()
		began := time.Now()
		time.AfterFunc(time.Hour, func() { l.Renewed(l.Now()) })
		if err := l.Await(t.Context()); err != nil || time.Since(began) != time.Hour {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		time.Sleep(time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.Await(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without a renewal: %v", err)
		}
	})
}

func TestLateCountsDownAndStaysUnclean(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := virtual()
		if left, unclean := l.Late(); left != 0 || unclean {
			t.Errorf("of a job that was not taken over: %s, %v", left, unclean)
		}
		l.TookOver(20 * time.Second)
		time.Sleep(5 * time.Second)
		if left, unclean := l.Late(); left != 15*time.Second || !unclean {
			t.Errorf("after 5 of 20 s: %s, %v", left, unclean)
		}
		time.Sleep(time.Hour)
		if left, unclean := l.Late(); left != 0 || !unclean {
			t.Errorf("after an hour: %s, %v", left, unclean)
		}
	})
}

func TestNilLeaseHolds(t *testing.T) {
	var l *Lease
	ctx, release := l.Bind(t.Context())
	release()
	if err := errors.Join(l.Check(), l.Await(ctx)); err != nil || ctx.Err() != nil {
		t.Error(err)
	}
	if _, unclean := l.Late(); unclean {
		t.Error("it was taken over")
	}
}
