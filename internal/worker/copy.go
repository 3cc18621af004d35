package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/transferd/transferd/internal/chunker"
	"github.com/transferd/transferd/internal/flow"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/verify"
)

// mode is what happens to each chunk.
type mode int

const (
	copyChunks  mode = iota // write it and read it back
	compareOnly             // only read it back
)

// maxInFlight is the most chunks in flight of a job whose ends set no limit.
const maxInFlight = 16

// copier is the one copy loop: it takes every chunk of a source to a sink.
type copier struct {
	*run
	src       transfer.Source
	sink      transfer.Sink
	mode      mode
	size      int64 // of the image, bytes; -1 until a stream has ended
	chunkSize int
	skipZeros bool // zeros need not be written
	doubted   bool // the target may not be as the ledger has it
	order     *flow.Sequencer
	hash      *orderedHash
	window    *flow.Window
	duplex    *flow.Duplex // nil: the copy does not write and read back
}

// workspace is what one goroutine carries chunks in.
type workspace struct {
	buf     []byte
	cmp     *verify.Comparer
	began   time.Time // with the chunk that is in it
	written func()    // to be called when the chunk is
}

// copy moves all chunks that the ledger does not have.
func (c *copier) copy(ctx context.Context) error {
	if !c.sink.Traits().Rewritable {
		c.order = flow.NewSequencer()
	}
	if c.task.Spec.WantsImageDigest() {
		c.hash = &orderedHash{order: flow.NewSequencer(), sum: verify.NewImageHash()}
	}
	stream, ok := c.src.(transfer.Stream)
	if !ok {
		return c.whileSaving(ctx, func() error {
			if err := c.each(ctx, c.extents(ctx), !c.skipZeros, c.step, c.writesAndReads()); err != nil {
				return err
			}
			c.recount()
			return nil
		})
	}
	f := &streamFeed{src: stream, chunkSize: c.chunkSize, capacity: c.task.Capacity}
	if err := c.whileSaving(ctx, func() error { return c.carry(ctx, f, c.step, c.writesAndReads()) }); err != nil {
		return err
	}
	return c.streamEnded(f.size) // changes the plan, so no save may be under way
}

func (c *copier) streamEnded(size int64) error {
	if size == 0 {
		return errEmpty
	}
	c.size = size
	c.setSize(size)
	return nil
}

// each does step for the chunks that touch an extent, and with holes for all others too.
func (c *copier) each(ctx context.Context, extents extents, holes bool, step stepFunc, twoWay bool) error {
	f, stop := newPlanFeed(chunker.Plan(ctx, extents, c.size, c.chunkSize, holes))
	defer stop()
	return c.carry(ctx, f, step, twoWay)
}

// extents is where the data of a source lies that is no stream.
func (c *copier) extents(ctx context.Context) extents { return c.src.(transfer.Mapper).Extents(ctx) }

// writesAndReads reports whether each chunk is written, and then read back by another call.
func (c *copier) writesAndReads() bool {
	_, atOnce := c.sink.(transfer.WriteBacker)
	return c.mode == copyChunks && c.readsBack() && !atOnce
}

type stepFunc func(ctx context.Context, w work, ws *workspace) error

// carry takes what the feed hands out through step, several chunks at once, each in one goroutine, its lane, from start to
// end. twoWay says that step writes and then reads back: then only half of the lanes begin at once, for there is room in the
// link's one direction for no more, and another one beside each chunk that has been written.
func (c *copier) carry(ctx context.Context, f feed, step stepFunc, twoWay bool) error {
	c.window = flow.NewWindow(c.task.Spec.Concurrency, c.maxInFlight(), c.away())
	c.duplex = nil
	if twoWay {
		c.duplex = flow.NewDuplex(c.window.Limit)
	}
	c.retry.window.Store(c.window)
	c.retry.drain = nil // chunks in flight end, whatever they meet
	defer func() { c.retry.drain = c.drain }()
	var drained atomic.Bool
	g, ctx := errgroup.WithContext(ctx)
	var lane func() error
	more := func() {
		if c.window.Enter() {
			g.Go(lane)
		}
	}
	lane = func() error {
		buf := c.worker.buffers.Get()
		defer c.worker.buffers.Put(buf)
		ws := &workspace{buf: *buf, cmp: verify.NewComparer(), written: more}
		err := c.carryAll(ctx, f, ws, func(ctx context.Context, w work) error {
			if err := step(ctx, w, ws); err != nil || twoWay {
				return err
			}
			more()
			return nil
		})
		if errors.Is(err, errDrained) {
			// As an error it would end ctx, and with it the chunks that the others have in flight.
			drained.Store(true)
			return nil
		}
		return err
	}
	first := c.window.Limit()
	if twoWay {
		first = (first + 1) / 2
	}
	for range first {
		more()
	}
	err := g.Wait()
	if err == nil && drained.Load() {
		return errDrained
	}
	return err
}

// maxInFlight is the lowest limit of the job's ends; an end without one takes as many as the other allows.
func (c *copier) maxInFlight() int {
	most := 0
	for _, end := range []any{c.src, c.sink} {
		if l, ok := end.(transfer.Remote); ok && (most == 0 || l.MaxInFlight() < most) {
			most = l.MaxInFlight()
		}
	}
	return cmp.Or(most, maxInFlight)
}

// away is how far the farther of the job's ends is, there and back.
func (c *copier) away() (far time.Duration) {
	for _, end := range []any{c.src, c.sink} {
		if e, ok := end.(transfer.Remote); ok {
			far = max(far, e.RTT())
		}
	}
	return far
}

// carryAll carries one chunk after another.
func (c *copier) carryAll(ctx context.Context, f feed, ws *workspace, step func(context.Context, work) error) error {
	for !c.window.Leave() {
		select {
		case <-c.drain:
			return errDrained
		case <-ctx.Done():
			return ctx.Err()
		default:
		}
		if err := c.ledger.room(ctx, c.drain); err != nil {
			return err
		}
		ws.began = time.Now()
		w, err := f.take(ctx, ws.buf)
		if errors.Is(err, errAllTaken) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := step(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

// step is one chunk's way: read, hash for the whole image, skip or write or compare, remember.
func (c *copier) step(ctx context.Context, w work, ws *workspace) error {
	p := ws.buf[:w.Len]
	known, done := c.ledger.get(w.Index)
	var err error
	if done && c.doubted {
		if done, err = c.stillStored(ctx, w, known, ws); err != nil {
			return err
		}
	}
	if done && !w.read && c.hash == nil {
		return nil
	}
	p, err = c.read(ctx, w, p)
	if err != nil {
		return err
	}
	if err := c.readTwice(ctx, w, p); err != nil {
		return err
	}
	if err := c.hash.add(ctx, w, p); err != nil {
		return err
	}
	// What is read again by a later attempt need not be the same as before.
	if done && (p == nil || verify.Sum(p) == known) {
		return nil
	}
	if c.mode == copyChunks && c.skipZeros && !done && (w.Hole || chunker.IsZero(p)) {
		if c.ledger.mark(w.Index, verify.ZeroDigest(w.Len)) {
			c.count.update(func(n *transfer.Progress) { n.Chunks.Zero++; n.Chunks.Done++ })
		}
		return nil
	}
	return c.settleChunk(ctx, w, p, ws)
}

func (c *copier) settleChunk(ctx context.Context, w work, p []byte, ws *workspace) error {
	put := c.store
	if c.mode == compareOnly {
		put = c.compare
	}
	d, err := put(ctx, w, p, ws)
	if err != nil {
		return err
	}
	if c.ledger.mark(w.Index, d) {
		c.count.update(func(n *transfer.Progress) {
			if n.Chunks.Done++; c.readsBack() {
				n.Chunks.Verified++
			}
		})
	}
	return nil
}

// read returns the chunk's bytes in p; nil where the source knows only digests.
func (c *copier) read(ctx context.Context, w work, p []byte) ([]byte, error) {
	_, digested := c.src.(transfer.Digests)
	switch {
	case digested:
		return nil, nil
	case w.Hole:
		clear(p)
		return p, nil
	case !w.read:
		err := c.retry.call(ctx, c.sourceGate, func() error { return c.src.(transfer.RandomAccess).ReadChunk(ctx, w.Chunk, p) })
		if err != nil {
			return nil, at("read", w.Chunk, err)
		}
	}
	c.count.update(func(n *transfer.Progress) { n.Bytes.Read += int64(w.Len) })
	return p, nil
}

// countDone counts, before the copy, the chunks that it will not touch, so that progress is true from the start.
func (c *copier) countDone(ctx context.Context) error {
	var holes int64
	if _, stream := c.src.(transfer.Stream); c.skipZeros && !stream {
		holes = transfer.ChunkCount(c.size, c.chunkSize)
		for _, err := range chunker.Plan(ctx, c.extents(ctx), c.size, c.chunkSize, false) {
			if err != nil {
				return fmt.Errorf("find data: %w", err)
			}
			holes--
		}
	}
	done, left := c.ledger.len(), int64(0)
	if c.task.Plan.Blank {
		left = done - int64(len(c.ledger.nonZero(c.size, c.chunkSize)))
	}
	c.count.update(func(n *transfer.Progress) {
		n.Chunks.Done, n.Chunks.Zero, n.Chunks.Verified = holes+done, holes+left, 0
		if c.readsBack() {
			n.Chunks.Verified = done - left
		}
	})
	return nil
}

// recount sets right what countDone could only foresee: a file system may find more or fewer holes a moment later.
func (c *copier) recount() {
	if !c.skipZeros {
		return
	}
	data := int64(len(c.ledger.nonZero(c.size, c.chunkSize)))
	c.count.update(func(n *transfer.Progress) { n.Chunks.Done, n.Chunks.Zero = n.Chunks.Total, n.Chunks.Total-data })
}

// imageDigest is the SHA-256 of the whole image, or "" if it was not asked for.
func (c *copier) imageDigest() string {
	if d, ok := c.src.(transfer.Digests); ok {
		return d.ImageDigest()
	}
	if c.hash == nil {
		return ""
	}
	return c.hash.sum.Sum(c.size)
}

// orderedHash is the SHA-256 of the image, computed beside the copy: the goroutines pass their chunks through it in order
// before they go on with them. A nil one does nothing.
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

func equalHex(a, b string) bool { return strings.EqualFold(a, b) }
