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

// copier carries chunks from the source to the target: the one copy loop.
type copier struct {
	layout
	spec     *transfer.Spec
	action   transfer.Action
	ends     *ends
	source   caller
	target   caller
	state    *checkpointer
	buffers  *chunker.Buffers
	drain    <-chan struct{}
	flush    func(context.Context) error // makes durable what was written, where the target does so only on request
	hash     *orderedHash                // nil: the SHA-256 of the image is not wanted
	each     bool                        // each chunk is read back before it counts as done
	log      *zap.Logger
	takeover *takeover
}

func newCopier(a *attempt, lay layout) *copier {
	c := &copier{
		layout: lay, spec: a.spec(), action: a.action, ends: a.ends, source: a.source, target: a.target,
		state: a.state, buffers: a.buffers, drain: a.drain, each: a.verifiesEach(),
		flush: a.flusher.flush,
		log:   a.log, takeover: a.from,
	}
	if c.spec.WantsImageDigest() {
		c.hash = &orderedHash{order: flow.NewSequencer(), sum: verify.NewImageHash()}
	}
	return c
}

// chunkRange is the chunks from first to before end, by index.
type chunkRange struct{ first, end int64 }

// wholeImage is all chunks of an image of any size.
var wholeImage = chunkRange{0, math.MaxInt64}

// copy carries the chunks of a range that the ledger does not have. A stream is always carried as a
// whole, and sets the size of the image at its end.
func (c *copier) copy(ctx context.Context, r chunkRange) error {
	if c.ends.stream == nil {
		if err := c.run(ctx, c.plan(ctx, r), c.step, c.writesAndReads()); err != nil {
			return err
		}
		c.recount(r)
		return nil
	}
	f := &streamFeed{src: c.ends.stream, chunkSize: c.chunkSize, capacity: c.ends.traits.Capacity}
	if err := c.run(ctx, f, c.step, c.writesAndReads()); err != nil {
		return err
	}
	if f.size == 0 {
		return errEmpty
	}
	c.size = f.size
	c.noteSize()
	total := c.size + c.bytesAfterImage()
	c.state.update(func(n *transfer.Progress) { n.Bytes.Total = total })
	return nil
}

// plan is the chunks of a range that touch an extent of the source, and all others too unless zeros
// need not be written.
func (c *copier) plan(ctx context.Context, r chunkRange) feed {
	return newPlanFeed(chunker.Plan(ctx, c.ends.mapper.Extents(ctx), c.size, c.chunkSize, !c.skipZeros), r)
}

// writesAndReads reports whether each chunk is written, and then read back by another call.
func (c *copier) writesAndReads() bool { return c.action.Writes && c.each && c.ends.writeBack == nil }

// stepFunc carries one chunk.
type stepFunc func(ctx context.Context, w work, l *lane) error

// lane is what one goroutine carries chunks in, one after another.
type lane struct {
	buf   []byte
	cmp   *verify.Comparer
	pace  *pace     // nil: not part of a run
	began time.Time // when the chunk in it was taken
	moved int       // bytes of it that crossed a link or reached a disk
}

// lanes is the goroutines of a run.
type lanes struct {
	*copier
	feed    feed
	step    stepFunc
	pace    *pace
	group   *panics.Group
	drained atomic.Bool
}

// run takes what the feed hands out through step, several chunks at once, each in one goroutine from
// start to end. twoWay says that a step writes and then reads back.
func (c *copier) run(ctx context.Context, f feed, step stepFunc, twoWay bool) error {
	defer f.stop()
	window := flow.NewWindow(c.spec.Concurrency, c.ends.maxInFlight(), c.ends.rtt())
	r := &lanes{copier: c, feed: f, step: step, pace: &pace{window: window}}
	if twoWay {
		if t := c.ends.traits; t.Rewritable && t.Geometry.FixedChunk == 0 {
			r.pace.split = flow.NewSplit(c.chunkSize, c.ends.rtt())
		}
		r.pace.duplex = flow.NewDuplex(r.pace.calls)
	}
	r.group, ctx = panics.WithContext(ctx)
	r.start(ctx)
	err := r.group.Wait()
	if err == nil && r.drained.Load() {
		return flow.ErrDrained
	}
	return err
}

// start begins as many lanes as the window allows.
func (r *lanes) start(ctx context.Context) {
	for r.pace.window.Enter() {
		r.group.Go(func() error { return r.lane(ctx) })
	}
}

func (r *lanes) lane(ctx context.Context) error {
	buf := r.buffers.Get(r.chunkSize)
	defer r.buffers.Put(buf)
	l := &lane{buf: *buf, cmp: verify.NewComparer(), pace: r.pace}
	return r.carryAll(ctx, l)
}

// carryAll carries one chunk after another.
func (r *lanes) carryAll(ctx context.Context, l *lane) error {
	for !r.pace.window.Leave() {
		l.began, l.moved = time.Now(), 0
		w, err := r.take(ctx, l)
		switch {
		case errors.Is(err, errAllTaken):
			return nil
		case errors.Is(err, flow.ErrDrained):
			// As an error it would end ctx, and with it the chunks that the other lanes have in
			// flight.
			r.drained.Store(true)
			return nil
		case err != nil:
			return err
		}
		// Drained in the middle of a chunk, which then waits for long, is an error: later chunks
		// may have to wait for this one.
		if err := r.step(ctx, w, l); err != nil {
			return err
		}
		if l.moved > 0 {
			r.pace.window.ChunkDone(l.moved, l.began)
		}
		r.pace.window.Bound(r.pace.lanes())
		r.start(ctx) // the limit may have grown
	}
	return nil
}

// take waits until one more chunk may begin, and takes it.
func (r *lanes) take(ctx context.Context, l *lane) (work, error) {
	select {
	case <-r.drain:
		return work{}, flow.ErrDrained
	default:
	}
	if err := r.state.room(ctx, r.drain); err != nil {
		return work{}, err
	}
	return r.feed.take(ctx, l.buf)
}

// recount corrects what countDone could only foresee: a file system may find more or fewer holes a
// moment later.
func (c *copier) recount(r chunkRange) {
	if !c.skipZeros || r != wholeImage {
		return
	}
	data := int64(len(c.state.ledger.nonZero(c.size, c.chunkSize)))
	c.state.update(func(n *transfer.Progress) { n.Chunks.Done, n.Chunks.Zero = n.Chunks.Total, n.Chunks.Total-data })
}

// imageDigest is the SHA-256 of the whole image, or "" if it is not known.
func (c *copier) imageDigest() string {
	switch {
	case c.ends.digests != nil:
		return c.ends.digests.ImageDigest()
	case c.hash != nil:
		return c.hash.sum.Sum(c.size)
	}
	return ""
}

// orderedHash computes the SHA-256 of the image during the copy: the lanes pass their chunks through it
// in order before they go on with them. A nil one does nothing.
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
