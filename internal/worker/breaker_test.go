package worker

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/flow"
	"github.com/transferd/transferd/internal/transfer"
)

// controlOnly is a caller that makes only control calls.
type controlOnly struct{}

func (controlOnly) do(ctx context.Context, c *call) error { return c.run(ctx) }

func newBreaking() *breaking {
	p := &retrier{policy: flow.DefaultPolicy, count: new(counters), log: zap.NewNop()}
	return &breaking{p, new(flow.Breaker), controlOnly{}}
}

// TestEachBusyResponseIsCounted: every 409 counts as a retry, not only those of the call that keeps
// retrying.
func TestEachBusyResponseIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lanes = 8
		image, sink := randomBytes(3*lanes*chunkSize), newMemImage(nil)
		sink.onWrite = func(ctx context.Context, c transfer.Chunk, n int) error {
			if err := sleep(ctx, time.Second); err != nil { // all lanes call before the first response
				return err
			}
			if c.Index < lanes && n == 1 {
				return failure(transfer.CodeConflict)
			}
			return nil
		}
		j := newJob(t, newMemImage(image), sink)
		j.spec.Concurrency = lanes
		p := j.mustRun()
		checkContent(t, sink, image)
		if p.Retries != (transfer.Retries{Conflict: lanes}) || p.Chunks.Sent != 3*lanes {
			t.Errorf("got retries %+v, chunks %+v; want %d conflicts and %d chunks sent",
				p.Retries, p.Chunks, lanes, 3*lanes)
		}
	})
}

// TestCallsBehindABreakerEndWithTheirContext: and leave the breaker open.
func TestCallsBehindABreakerEndWithTheirContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newBreaking()
		if !g.breaker.Trip() || g.breaker.Trip() {
			t.Fatal("want the first Trip to return true, and a second one false")
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 10)
		for range cap(done) {
			go func() {
				done <- control(ctx, g, func(context.Context) error {
					t.Error("a call was made while the breaker was open, want none")
					return nil
				})
			}()
		}
		synctest.Wait()
		cancel()
		for range cap(done) {
			if err := <-done; transfer.CodeOf(err) != transfer.CodeCanceled {
				t.Errorf("got %v, want code %s", err, transfer.CodeCanceled)
			}
		}
		if g.breaker.Trip() {
			t.Error("the breaker is closed, want it open")
		}
	})
}

// TestNextCallRetriesAfterOneGaveUp: when the retrying call gives up, the next waiting call
// retries.
func TestNextCallRetriesAfterOneGaveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newBreaking()
		free := time.Now().Add(flow.DefaultPolicy.Busy + time.Minute)
		busy := func(context.Context) error {
			if time.Now().Before(free) {
				return failure(transfer.CodeConflict)
			}
			return nil
		}
		errs := make([]error, 5)
		var group sync.WaitGroup
		for i := range errs {
			group.Go(func() { errs[i] = control(t.Context(), g, busy) })
		}
		group.Wait()
		failed := 0
		for _, err := range errs {
			if failed += len(transfer.CodeOf(err)); err != nil && transfer.CodeOf(err) != transfer.CodeConflict {
				t.Errorf("got %v, want nil or code %s", err, transfer.CodeConflict)
			}
		}
		if failed != len(transfer.CodeConflict) {
			t.Errorf("got errors %v, want exactly one", errs)
		}
		if took := time.Until(free); took > 0 || took < -2*flow.DefaultPolicy.Cap {
			t.Errorf("the calls ended %s after the drive was free, want at most %s", -took, 2*flow.DefaultPolicy.Cap)
		}
	})
}

// TestOtherFailureResetsTheBreaker: a failure of the retrying call that does not concern the drive
// closes the breaker.
func TestOtherFailureResetsTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, calls := newBreaking(), 0
		err := control(t.Context(), g, func(context.Context) error {
			if calls++; calls == 3 {
				return failure(transfer.CodeTimeout)
			}
			return failure(transfer.CodeConflict)
		})
		if transfer.CodeOf(err) != transfer.CodeTimeout || calls != 3 {
			t.Errorf("after %d calls: got %v; want 3 calls and code %s", calls, err, transfer.CodeTimeout)
		}
		if err := g.breaker.Wait(t.Context(), nil); err != nil {
			t.Errorf("the breaker after another failure: got %v, want it closed", err)
		}
	})
}

// TestBusySourceDoesNotHoldBackTheTarget: chunks that have been read are written while the source
// is busy.
func TestBusySourceDoesNotHoldBackTheTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		started := time.Now()
		source, sink := newMemImage(randomBytes(4*chunkSize)), newMemImage(nil)
		source.onRead = func(ctx context.Context, c transfer.Chunk, _ int) error {
			if err := sleep(ctx, time.Duration(c.Index)*time.Second); err != nil {
				return err
			}
			if c.Index == 3 && time.Since(started) < time.Minute {
				return failure(transfer.CodeConflict)
			}
			return nil
		}
		sink.onWrite = func(ctx context.Context, c transfer.Chunk, _ int) error {
			if err := sleep(ctx, 2*time.Second); err != nil { // until the source is busy
				return err
			}
			if took := time.Since(started); c.Index < 3 && took > 5*time.Second {
				t.Errorf("chunk %d waited %s while the source was busy, want at most 5s", c.Index, took)
			}
			return nil
		}
		j := newJob(t, source, sink)
		j.spec.Concurrency = 8
		j.mustRun()
		checkContent(t, sink, source.data)
	})
}

// TestConcurrencyLimitsChunksInFlight: exactly, since the chunks in flight bound the memory.
func TestConcurrencyLimitsChunksInFlight(t *testing.T) {
	for _, lanes := range []int{1, 3, 40} {
		synctest.Test(t, func(t *testing.T) {
			calls := new(mostAtOnce)
			source, sink := newMemImage(randomBytes(100*chunkSize)), newMemImage(nil)
			source.onRead, sink.onWrite, sink.onRead = calls.call, calls.call, calls.call
			j := newJob(t, source, sink)
			j.spec.Concurrency = lanes
			j.mustRun()
			if calls.most != lanes {
				t.Errorf("got %d chunks in flight, want %d", calls.most, lanes)
			}
		})
	}
}
