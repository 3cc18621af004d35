package worker

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/transferd/transferd/internal/codec"
	"github.com/transferd/transferd/internal/flow"
	"github.com/transferd/transferd/internal/transfer"
)

// slowLink is a full-duplex link with a rate for each direction.
type slowLink struct {
	mu   [2]sync.Mutex
	free [2]time.Time
	rate float64 // bytes a second
}

func (l *slowLink) move(ctx context.Context, dir, n int) error {
	l.mu[dir].Lock()
	now := time.Now()
	if l.free[dir].Before(now) {
		l.free[dir] = now
	}
	l.free[dir] = l.free[dir].Add(time.Duration(float64(n) / l.rate * float64(time.Second)))
	wait := time.Until(l.free[dir])
	l.mu[dir].Unlock()
	return sleep(ctx, wait)
}

// newSlow returns a job of large chunks over a slow link.
func newSlow(t *testing.T, chunks int, rate float64) (*job, *memImage, []byte) {
	image := make([]byte, chunks<<22)
	for i := 0; i < len(image); i += 4096 {
		image[i] = byte(i>>12) | 1
	}
	link, sink := &slowLink{rate: rate}, newMemImage(make([]byte, len(image)))
	sink.onWrite = func(ctx context.Context, c transfer.Chunk, _ int) error { return link.move(ctx, 0, c.Len) }
	sink.onRead = func(ctx context.Context, c transfer.Chunk, _ int) error { return link.move(ctx, 1, c.Len) }
	j := newJob(t, newMemImage(image), sink)
	j.spec.ChunkSize = 4 << 20
	return j, sink, image
}

// TestPiecesFillASlowLink: in both directions, from nearly the first byte to nearly the last. The
// slower the link, the smaller are the pieces.
func TestPiecesFillASlowLink(t *testing.T) {
	const mbit = 1e6 / 8
	for _, rate := range []float64{10 * mbit, 50 * mbit, 100 * mbit, 200 * mbit} {
		synctest.Test(t, func(t *testing.T) {
			j, sink, image := newSlow(t, 40, rate)
			started := time.Now()
			p := j.mustRun()
			checkContent(t, sink, image)
			best := time.Duration(float64(len(image)) / rate * float64(time.Second))
			if took := time.Since(started); took > best+best/100+300*time.Millisecond {
				t.Errorf("at %.0f bytes a second: took %s, want at most 1%% and 300 ms more than %s", rate, took, best)
			}
			if p.Chunks.Sent != 40 || p.Chunks.Verified != 40 || len(j.store.saved.Entries) != 40 {
				t.Errorf("got %+v and %d entries, want 40 sent, verified and saved",
					p.Chunks, len(j.store.saved.Entries))
			}
		})
	}
}

// farLink is a memImage behind a full-duplex link whose calls share each direction, as TCP
// connections do: n calls at once take n times as long.
type farLink struct {
	*memImage
	rtt time.Duration
}

func (l farLink) MaxInFlight() int   { return 16 }
func (l farLink) RTT() time.Duration { return l.rtt }

func newFarLink(image *memImage, rate float64, rtt time.Duration) farLink {
	const turn = 64 << 10
	link := &slowLink{rate: rate}
	move := func(dir int) func(context.Context, transfer.Chunk, int) error {
		return func(ctx context.Context, c transfer.Chunk, _ int) error {
			for n := c.Len; n > 0; n -= turn {
				if err := link.move(ctx, dir, min(n, turn)); err != nil {
					return err
				}
			}
			return sleep(ctx, rtt)
		}
	}
	image.onWrite, image.onRead = move(0), move(1)
	return farLink{image, rtt}
}

// TestWholeChunksFillAFarLink: at 1 Gbit/s and 20 ms, chunks are not split. As many are in flight as
// keep both directions busy, and no more: those that are written at once are read back at once, while
// the other direction is idle. With a window that only climbs, the job takes a tenth longer.
func TestWholeChunksFillAFarLink(t *testing.T) {
	const rate, rtt, chunks = 1e9 / 8, 20 * time.Millisecond, 64
	synctest.Test(t, func(t *testing.T) {
		image := make([]byte, chunks<<22)
		for i := 0; i < len(image); i += 4096 {
			image[i] = byte(i>>12) | 1
		}
		sink := newMemImage(make([]byte, len(image)))
		j := newJob(t, newMemImage(image), newFarLink(sink, rate, rtt))
		j.spec.ChunkSize = 4 << 20
		started := time.Now()
		j.mustRun()
		checkContent(t, sink, image)
		best := time.Duration(float64(len(image)) / rate * float64(time.Second))
		if took := time.Since(started); took > best*100/87 {
			t.Errorf("took %s, want at most %s", took, best*100/87)
		}
	})
}

// TestRestOfAChunkIsOnePieceOnAFastLink: the link turns out to be fast while the first chunks are
// written in pieces, and more pieces would only cost more round trips.
func TestRestOfAChunkIsOnePieceOnAFastLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, sink, image := newSlow(t, 40, 1e9/8)
		var rests atomic.Int32
		move := sink.onWrite
		sink.onWrite = func(ctx context.Context, c transfer.Chunk, try int) error {
			if c.Off%(4<<20) != 0 && c.Len > 1<<20 {
				rests.Add(1)
			}
			return move(ctx, c, try)
		}
		j.mustRun()
		checkContent(t, sink, image)
		if rests.Load() == 0 {
			t.Error("got no rest of a chunk that was written as one piece, want some")
		}
	})
}

// TestWrongPieceIsRewritten: with its chunk.
func TestWrongPieceIsRewritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, sink, image := newSlow(t, 6, 10<<20)
		var once sync.Once
		sink.corruptWrite = func(c transfer.Chunk, _ int, p []byte) {
			if c.Index == 2 && c.Off%(4<<20) == 2<<20 {
				once.Do(func() { p[17] ^= 4 })
			}
		}
		p := j.mustRun()
		checkContent(t, sink, image)
		if p.Retries.Mismatch == 0 || p.Chunks.Verified != 6 {
			t.Errorf("got %+v and %+v, want a mismatch and 6 chunks verified", p.Retries, p.Chunks)
		}
	})
}

// TestFailedPieceNamesItsOffset: and its chunk, and no goroutine is left.
func TestFailedPieceNamesItsOffset(t *testing.T) {
	for _, op := range []string{"write", "read back"} {
		synctest.Test(t, func(t *testing.T) {
			j, sink, _ := newSlow(t, 6, 10<<20)
			fail := func(ctx context.Context, c transfer.Chunk, _ int) error {
				if c.Index == 1 && c.Off == 6<<20 {
					return failure(transfer.CodeRefused)
				}
				return sleep(ctx, 100*time.Millisecond)
			}
			if op == "write" {
				sink.onWrite = fail
			} else {
				sink.onRead = fail
			}
			if f := j.mustFail(transfer.CodeRefused); f.Offset == nil || *f.Offset != 6<<20 {
				t.Errorf("%s: got %+v, want the offset of the piece", op, f)
			}
		})
	}
}

// TestFirstPieceHoldsAProbe: the codec measures the link with a part of the first write, so the
// first pieces must be large enough. With smaller ones gzip was first measured on cold connections,
// and not selected at 200 Mbit/s.
func TestFirstPieceHoldsAProbe(t *testing.T) {
	const chunk = 4 << 20
	piece := flow.NewSplit(chunk, 20*time.Millisecond).Piece(chunk)
	if n := codec.NewCodec(transfer.CompressionAuto).Probe(piece, 20*time.Millisecond); n == 0 {
		t.Errorf("a piece of %d bytes: got no probe, want one", piece)
	}
}
