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

// What a window of package flow begins with, how far an endpoint is that gets twice that at once,
// and how long a chunk may take for it to grow.
const (
	firstInFlight = 4
	farFrom       = 50 * time.Millisecond
	slowChunk     = 2 * time.Second
)

// TestThroughputIsNearTheBestAtAnyLatency: the window finds how many chunks in flight the endpoint
// needs.
func TestThroughputIsNearTheBestAtAnyLatency(t *testing.T) {
	const perChunk = 10 * time.Millisecond // of the link for a chunk
	for latency, want := range map[time.Duration][2]int{
		0: {1, 8}, 20 * time.Millisecond: {3, 8}, 100 * time.Millisecond: {8, 16}, time.Second: {16, 16},
	} {
		synctest.Test(t, func(t *testing.T) {
			sink := newMemImage(nil)
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
			j := newJob(t, newMemImage(randomBytes(count*chunkSize)), sink)
			j.mustRun()
			if m := int(most.Load()); m < want[0] || m > 16 {
				t.Errorf("latency %s: got %d in flight, want %d to 16", latency, m, want[0])
			}
			took := time.Since(started)
			best := max(perChunk, (perChunk+latency)/16) * count
			if took > best*115/100 {
				t.Errorf("latency %s: took %s, want at most 15%% more than %s", latency, took, best)
			}
		})
	}
}

// oneWay is one direction of a link, which all calls in flight share.
func oneWay(perChunk time.Duration) func(context.Context, transfer.Chunk, int) error {
	const pieces = 64
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

// TestBothDirectionsAreBusy: on a slow link. Without Duplex the job takes a tenth longer, whatever
// the image's size, because chunks that are written together are read back together.
func TestBothDirectionsAreBusy(t *testing.T) {
	const (
		perChunk = 640 * time.Millisecond // of the link for a chunk, in each direction
		count    = 200
	)
	for concurrency, atMost := range map[int]float64{0: 1.02, 2: 1.02, 3: 1.04, 7: 1.04, 16: 1.06} {
		synctest.Test(t, func(t *testing.T) {
			sink := newMemImage(nil)
			sink.onWrite, sink.onRead = oneWay(perChunk), oneWay(perChunk)
			started := time.Now()
			j := newJob(t, newMemImage(randomBytes(count*chunkSize)), sink)
			j.spec.Concurrency = concurrency
			j.mustRun()
			took, best := time.Since(started), count*perChunk
			if took.Seconds() > best.Seconds()*atMost {
				t.Errorf("%d in flight: took %s, want about %s", concurrency, took, best)
			}
		})
	}
}

// TestSlowDriveGetsMostCallsForWriting: with half of the calls in each direction the job would take
// twice as long.
func TestSlowDriveGetsMostCallsForWriting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const (
			perWrite = time.Second
			inFlight = 16
			count    = 320
		)
		sink := newMemImage(nil)
		sink.onWrite = func(ctx context.Context, _ transfer.Chunk, _ int) error { return sleep(ctx, perWrite) }
		sink.onRead = func(ctx context.Context, _ transfer.Chunk, _ int) error { return sleep(ctx, perWrite/100) }
		started := time.Now()
		j := newJob(t, newMemImage(randomBytes(count*chunkSize)), sink)
		j.spec.Concurrency = inFlight
		j.mustRun()
		if took, best := time.Since(started), count/inFlight*perWrite; took > best*115/100 {
			t.Errorf("took %s, want about %s", took, best)
		}
	})
}

// TestSlowChunksDoNotGrowTheWindow: where each chunk takes long already.
func TestSlowChunksDoNotGrowTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var underWay, most atomic.Int64
		counted := func(call func(context.Context, transfer.Chunk, int) error) func(context.Context, transfer.Chunk,
			int) error {
			return func(ctx context.Context, c transfer.Chunk, n int) error {
				most.Store(max(most.Load(), underWay.Add(1)))
				defer underWay.Add(-1)
				return call(ctx, c, n)
			}
		}
		sink := newMemImage(nil)
		sink.onWrite, sink.onRead = counted(oneWay(slowChunk/2)), counted(oneWay(slowChunk/2))
		newJob(t, newMemImage(randomBytes(100*chunkSize)), sink).mustRun()
		if m := most.Load(); m != firstInFlight {
			t.Errorf("got %d in flight, want %d", m, firstInFlight)
		}
	})
}

// far is a sink with a long round-trip time.
type far struct{ *memImage }

func (far) MaxInFlight() int   { return defaultInFlight }
func (far) RTT() time.Duration { return farFrom }

// TestFarEndpointGetsMoreChunksAtOnce: slow start is skipped, because its first chunk would take
// long round trips.
func TestFarEndpointGetsMoreChunksAtOnce(t *testing.T) {
	for want, end := range map[int64]func(*memImage) transfer.Sink{
		firstInFlight:     func(c *memImage) transfer.Sink { return c },
		2 * firstInFlight: func(c *memImage) transfer.Sink { return far{c} },
	} {
		synctest.Test(t, func(t *testing.T) {
			var writes atomic.Int64 // begun before the first one has ended
			started := time.Now()
			sink := newMemImage(nil)
			sink.onWrite = func(ctx context.Context, _ transfer.Chunk, _ int) error {
				if time.Since(started) < farFrom {
					writes.Add(1)
				}
				return sleep(ctx, farFrom)
			}
			newJob(t, newMemImage(randomBytes(100*chunkSize)), end(sink)).mustRun()
			if n := writes.Load(); n != want/2 {
				t.Errorf("%d chunks were begun at first, not %d", n, want/2)
			}
		})
	}
}
