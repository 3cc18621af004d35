package worker

import (
	"context"
	"errors"
	"math"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/chunker"
	"github.com/transferd/transferd/internal/flow"
	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/verify"
)

// copier carries chunks from the source to the target.
type copier struct {
	layout
	spec       *transfer.Spec
	action     transfer.Action
	ends       *ends
	source     caller
	target     caller
	state      *checkpointer
	buffers    *chunker.Buffers
	drain      <-chan struct{}
	flush      func(context.Context) error // makes writes durable; nothing for a target without a flush
	hash       *orderedHash                // nil: the SHA-256 of the image is not needed
	verifyEach bool                        // each chunk is read back before it counts as done
	log        *zap.Logger
	takeover   *takeover
	heldBy     func(ctx context.Context, drive transfer.Ref) []string // the servers that hold a drive
}

func newCopier(a *attempt, lay layout) *copier {
	c := &copier{
		layout: lay, spec: a.spec(), action: a.action, ends: a.ends, source: a.source, target: a.target,
		state: a.state, buffers: a.buffers, drain: a.drain, verifyEach: a.verifiesEach(),
		flush: a.flusher.flush,
		log:   a.log, takeover: a.takeover, heldBy: a.heldBy,
	}
	if c.spec.WantsImageDigest() {
		c.hash = &orderedHash{order: flow.NewSequencer(), sum: verify.NewImageHash()}
	}
	return c
}

// chunkRange is the chunks with index first to end-1.
type chunkRange struct{ first, end int64 }

// wholeImage has all chunks of an image of any size.
var wholeImage = chunkRange{0, math.MaxInt64}

// copy carries the chunks of a range that are not in the ledger. A stream is always carried as a
// whole; its end sets the size of the image.
func (c *copier) copy(ctx context.Context, r chunkRange) error {
	if c.ends.stream == nil {
		if err := c.runLanes(ctx, c.chunksIn(ctx, r), c.carryChunk, c.writesThenReadsBack()); err != nil {
			return err
		}
		c.recount(r)
		return nil
	}
	chunks := &streamChunks{src: c.ends.stream, chunkSize: c.chunkSize, capacity: c.ends.traits.Capacity}
	if err := c.runLanes(ctx, chunks, c.carryChunk, c.writesThenReadsBack()); err != nil {
		return err
	}
	if chunks.size == 0 {
		return errEmpty
	}
	c.size = chunks.size
	c.noteSize()
	total := c.size + c.bytesAfterImage()
	c.state.update(func(n *transfer.Progress) { n.Bytes.Total = total })
	return nil
}

// chunksIn returns the chunks of a range that touch an extent of the source, and all others too
// unless zeros need not be written.
func (c *copier) chunksIn(ctx context.Context, r chunkRange) chunkQueue {
	return newMappedChunks(chunker.Chunks(ctx, c.ends.mapper.Extents(ctx), c.size, c.chunkSize, !c.skipZeros), r)
}

// writesThenReadsBack reports whether each chunk is written and then read back by another call.
func (c *copier) writesThenReadsBack() bool {
	return c.action.Writes && c.verifyEach && c.ends.writeBack == nil
}

// chunkFunc handles one chunk in a lane.
type chunkFunc func(ctx context.Context, w work, l *lane) error

// lane is one goroutine with one buffer that carries chunks, one after another.
type lane struct {
	buf        []byte
	cmp        *verify.Comparer
	limits     *limits   // nil: the call is not part of a run
	startLanes func()    // starts more lanes, if more are allowed now; set if limits is
	began      time.Time // when the chunk was begun
	bytesMoved int       // bytes of the chunk that crossed a link or reached a disk
}

// lanes are the goroutines of one run.
type lanes struct {
	*copier
	chunks  chunkQueue
	f       chunkFunc
	limits  *limits
	group   *panics.Group
	drained atomic.Bool
}

// runLanes calls f for each chunk of the queue. Several lanes run at once; each handles one chunk
// from its beginning to its end. twoWay says that f writes a chunk and then reads it back.
func (c *copier) runLanes(ctx context.Context, chunks chunkQueue, f chunkFunc, twoWay bool) error {
	defer chunks.close()
	window := flow.NewWindow(c.spec.Concurrency, c.ends.maxInFlight(), c.ends.rtt())
	r := &lanes{copier: c, chunks: chunks, f: f, limits: &limits{window: window}}
	if twoWay {
		if t := c.ends.traits; t.Rewritable && t.Geometry.FixedChunk == 0 {
			r.limits.split = flow.NewSplit(c.chunkSize, c.ends.rtt())
		}
		r.limits.duplex = flow.NewDuplex(r.limits.calls)
	}
	r.group, ctx = panics.WithContext(ctx)
	r.startLanes(ctx)
	err := r.group.Wait()
	if err == nil && r.drained.Load() {
		return flow.ErrDrained
	}
	return err
}

// startLanes starts as many lanes as the window allows, which may have grown.
func (r *lanes) startLanes(ctx context.Context) {
	r.limits.window.Bound(r.limits.lanes())
	for r.limits.window.Enter() {
		r.group.Go(func() error { return r.runLane(ctx) })
	}
}

// runLane carries chunks in a buffer from the pool.
func (r *lanes) runLane(ctx context.Context) error {
	buf := r.buffers.Get(r.chunkSize)
	defer r.buffers.Put(buf)
	l := &lane{buf: *buf, cmp: verify.NewComparer(), limits: r.limits, startLanes: func() { r.startLanes(ctx) }}
	return r.carryChunks(ctx, l)
}

// carryChunks carries one chunk after another, until none is left or the window shrinks.
func (r *lanes) carryChunks(ctx context.Context, l *lane) error {
	for !r.limits.window.Leave() {
		l.began, l.bytesMoved = time.Now(), 0
		w, err := r.nextChunk(ctx, l)
		switch {
		case errors.Is(err, errNoMoreChunks):
			return nil
		case errors.Is(err, flow.ErrDrained):
			// Returned as an error, it would cancel the chunks of the other lanes.
			r.drained.Store(true)
			return nil
		case err != nil:
			return err
		}
		// ErrDrained from a chunk in flight, which waits for long, is an error: with a target that
		// is written in order, later chunks wait for this one.
		if err := r.f(ctx, w, l); err != nil {
			return err
		}
		if l.bytesMoved > 0 {
			r.limits.window.ChunkDone(l.bytesMoved, l.began)
		}
		r.startLanes(ctx)
	}
	return nil
}

// nextChunk waits until one more chunk may begin, and returns it.
func (r *lanes) nextChunk(ctx context.Context, l *lane) (work, error) {
	select {
	case <-r.drain:
		return work{}, flow.ErrDrained
	default:
	}
	if err := r.state.admitChunk(ctx, r.drain); err != nil {
		return work{}, err
	}
	return r.chunks.next(ctx, l.buf)
}

// recount corrects the estimate of countDone after the copy: a file system may report other holes
// when the image is read.
func (c *copier) recount(r chunkRange) {
	if !c.skipZeros || r != wholeImage {
		return
	}
	data := int64(len(c.state.ledger.nonZero(c.size, c.chunkSize)))
	c.state.update(func(n *transfer.Progress) { n.Chunks.Done, n.Chunks.Zero = n.Chunks.Total, n.Chunks.Total-data })
}

// imageDigest returns the SHA-256 of the whole image; "" if it is not known.
func (c *copier) imageDigest() string {
	switch {
	case c.ends.digests != nil:
		return c.ends.digests.ImageDigest()
	case c.hash != nil:
		return c.hash.sum.Sum(c.size)
	}
	return ""
}

// orderedHash computes the SHA-256 of the image during the copy. Each lane adds its chunk, in
// order, before it writes the chunk. A nil orderedHash does nothing.
type orderedHash struct {
	order *flow.Sequencer
	sum   *verify.ImageHash
}

func (h *orderedHash) add(ctx context.Context, w work, p []byte) error {
	if h == nil || p == nil {
		return nil
	}
	return h.order.Do(ctx, w.seq, func() error {
		h.sum.Add(w.Off, p)
		return nil
	})
}
