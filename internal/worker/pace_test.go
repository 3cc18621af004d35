package worker

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// TestPace finds how many in flight an endpoint is worth, over all latencies.
func TestPace(t *testing.T) {
	const perChunk = 10 * time.Millisecond // what the link takes for a chunk
	for latency, want := range map[time.Duration][2]int{
		0: {1, 8}, 20 * time.Millisecond: {3, 8}, 100 * time.Millisecond: {8, 16}, time.Second: {16, 16},
	} {
		synctest.Test(t, func(t *testing.T) {
			sink := newChunked(nil)
			var inFlight, most atomic.Int64
			link := make(chan struct{}, 1)
			sink.onWrite = func(ctx context.Context, _ transfer.Chunk, _ int) error {
				n := inFlight.Add(1)
				defer inFlight.Add(-1)
				if n > most.Load() {
					most.Store(n)
				}
				link <- struct{}{} // chunks share it
				err := sleep(ctx, perChunk)
				<-link
				return errors.Join(err, sleep(ctx, latency))
			}
			const count = 1000
			started := time.Now()
			j := newJob(t, newChunked(noise(count*chunkSize)), sink)
			j.mustRun()
			if m := int(most.Load()); m < want[0] || m > 16 {
				t.Errorf("latency %s: %d at the most", latency, m)
			}
			took := time.Since(started)
			best := max(perChunk, (perChunk+latency)/16) * count
			if took > best*115/100 {
				t.Errorf("latency %s: it took %s, the best is %s", latency, took, best)
			}
		})
	}
}

// TestBothDirections keeps both directions of a link busy, though all that is under way in one shares it. Lanes that began
// together would take 1.2 times the best with 2 in flight, and 1.3 times with 16; what an odd or a changing number takes
// depends on who comes first.
func TestBothDirections(t *testing.T) {
	const (
		perChunk = 64 * time.Millisecond // what the link takes for a chunk, each way
		pieces   = 64
		count    = 200
	)
	for concurrency, atMost := range map[int]float64{0: 1.25, 2: 1.1, 7: 1.25, 16: 1.1} {
		synctest.Test(t, func(t *testing.T) {
			direction := func() func(context.Context, transfer.Chunk, int) error {
				var underWay atomic.Int64
				return func(ctx context.Context, _ transfer.Chunk, _ int) error {
					underWay.Add(1)
					defer underWay.Add(-1)
					for range pieces {
						if err := sleep(ctx, perChunk/pieces*time.Duration(underWay.Load())); err != nil {
							return err
						}
					}
					return nil
				}
			}
			sink := newChunked(nil)
			sink.onWrite, sink.onRead = direction(), direction()
			started := time.Now()
			j := newJob(t, newChunked(noise(count*chunkSize)), sink)
			j.spec.Concurrency = concurrency
			j.mustRun()
			took, best := time.Since(started), count*perChunk
			if took.Seconds() > best.Seconds()*atMost {
				t.Errorf("with %d in flight it took %s, the best is %s", concurrency, took, best)
			}
		})
	}
}

// TestPaceFalls halves what is in flight when the endpoint asks for less, and when more fails than succeeds.
func TestPaceFalls(t *testing.T) {
	p := newPace(0, 16)
	p.limit, p.running = 16, 16
	p.failure(transfer.CodeThrottled)
	p.failure(transfer.CodeThrottled) // of the same round
	if p.limit != 8 {
		t.Errorf("%d in flight after 429", p.limit)
	}
	for range 8 {
		p.failure(transfer.CodeTimeout)
		p.failure(transfer.CodeNetwork)
		p.failure(transfer.CodeConflict)
		p.moved(1, time.Now())
	}
	if p.limit != 4 {
		t.Errorf("%d in flight after a round of failures", p.limit)
	}
	fixed := newPace(5, 16)
	fixed.failure(transfer.CodeThrottled)
	if fixed.limit != 5 {
		t.Errorf("a number that was asked for became %d", fixed.limit)
	}
}
