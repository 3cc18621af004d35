package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/transferd/transferd/internal/flow"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/verify"
)

const (
	// rewrites is how often a chunk is written at the most before a difference ends the job.
	rewrites = 5
	// rereads is how often what is stored is read before it counts as different: the fault may lie on the way back.
	rereads = 2
)

// expected is what a stored chunk should be: its bytes, or, where they are not at hand, its digest.
type expected struct {
	bytes  []byte
	digest transfer.Digest // if bytes is nil
}

// store writes a chunk and reads it back until what is stored is p. It returns the digest of what is stored.
func (c *copier) store(ctx context.Context, w work, p []byte, ws *workspace) (d transfer.Digest, err error) {
	for range rewrites {
		d, err = c.storeOnce(ctx, w, p, ws)
		if transfer.CodeOf(err) != transfer.CodeMismatch {
			break
		}
	}
	return d, err
}

func (c *copier) storeOnce(ctx context.Context, w work, p []byte, ws *workspace) (d transfer.Digest, err error) {
	both, atOnce := c.sink.(transfer.WriteBacker)
	atOnce = atOnce && c.readsBack()
	err = c.write(ctx, w, func() error {
		if !atOnce {
			return c.sink.WriteChunk(ctx, w.Chunk, p)
		}
		ws.cmp.Reset(p)
		return both.WriteBack(ctx, w.Chunk, p, ws.cmp)
	})
	if err != nil {
		return d, at("write", w.Chunk, err)
	}
	ws.written()
	if !c.readsBack() {
		c.window.ChunkDone(w.Len, ws.began)
		return verify.Sum(p), nil
	}
	if atOnce {
		if _, same := ws.cmp.Equal(); same {
			c.window.ChunkDone(w.Len, ws.began)
			return ws.cmp.Digest(), nil
		}
		c.count.retry(transfer.CodeMismatch)
	}
	return c.readBack(ctx, c.sink.(transfer.ReadBacker), w.Chunk, expected{bytes: p}, ws)
}

// readsBack reports whether each chunk is read back before it counts as done.
func (c *copier) readsBack() bool {
	return c.sink.Traits().ReadBack == transfer.ReadBackAtOnce && (c.mode == compareOnly || c.task.Spec.Verify != transfer.VerifyNone)
}

// write calls put, in the chunk's turn where the sink has an order.
func (c *copier) write(ctx context.Context, w work, put func() error) (err error) {
	write := func() error {
		return c.toSink(ctx, flow.Write, put)
	}
	if c.order != nil {
		err = c.order.Do(ctx, w.seq, write)
	} else {
		err = write()
	}
	if err == nil {
		c.count.update(func(n *transfer.Progress) { n.Chunks.Sent++ })
	}
	return err
}

// toSink calls op in its turn, and again while that may help. A chunk that waits to be tried again is not in its turn, so
// others pass it; one that waits for a busy drive is, for nothing passes that.
func (c *copier) toSink(ctx context.Context, way flow.Direction, op func() error) error {
	call := func() error {
		began := time.Now()
		err := c.young(op())
		if err == nil {
			c.duplex.Observe(way, time.Since(began))
		}
		return err
	}
	try := func() error {
		return c.duplex.Do(ctx, way, func() error { return c.sinkGate.do(ctx, call) })
	}
	return c.retry.while(ctx, transfer.RetryCall, try(), try)
}

// compare reads a chunk of the target and ends the job if it is not what the source says. The source, too, is read once
// more before that: the fault may lie on the way from it.
func (c *copier) compare(ctx context.Context, w work, p []byte, ws *workspace) (transfer.Digest, error) {
	want := expected{bytes: p}
	d, digested := c.src.(transfer.Digests)
	if digested {
		var ok bool
		if want.digest, ok = d.ChunkDigest(w.Index); !ok {
			want.digest = verify.ZeroDigest(w.Len)
		}
	}
	got, err := c.readBack(ctx, c.sink.(transfer.ReadBacker), w.Chunk, want, ws)
	if _, stream := c.src.(transfer.Stream); digested || stream || w.Hole || transfer.CodeOf(err) != transfer.CodeMismatch {
		return got, err
	}
	if _, err := c.read(ctx, w, p); err != nil {
		return got, err
	}
	return c.readBack(ctx, c.sink.(transfer.ReadBacker), w.Chunk, want, ws)
}

// readBack reads what is stored until it is what was expected, and fails with CodeMismatch if it is not.
func (c *copier) readBack(ctx context.Context, rb transfer.ReadBacker, ch transfer.Chunk, want expected, ws *workspace) (got transfer.Digest, err error) {
	for range rereads {
		err = c.toSink(ctx, flow.ReadBack, func() error {
			ws.cmp.Reset(want.bytes)
			return rb.ReadBack(ctx, ch, ws.cmp)
		})
		if err != nil {
			return got, at("read back", ch, err)
		}
		got = ws.cmp.Digest()
		if err = differs(ch, want, got, ws.cmp); err == nil {
			c.window.ChunkDone(ch.Len, ws.began)
			return got, nil
		}
		c.count.retry(transfer.CodeMismatch)
	}
	return got, err
}

func differs(ch transfer.Chunk, want expected, got transfer.Digest, cmp *verify.Comparer) error {
	off := ch.Off
	if want.bytes == nil {
		if got == want.digest {
			return nil
		}
	} else {
		diff, ok := cmp.Equal()
		if ok {
			return nil
		}
		off += int64(diff)
		want.digest = verify.Sum(want.bytes)
	}
	return &transfer.Error{
		Op: fmt.Sprintf("verify chunk %d", ch.Index), Code: transfer.CodeMismatch, Offset: &off,
		Hint: "what is stored is not what it should be; do not use the target",
		Err:  fmt.Errorf("the digest of %d bytes at %d is %s, not %s", ch.Len, ch.Off, got, want.digest),
	}
}

// at says which chunk an error belongs to.
func at(op string, c transfer.Chunk, err error) error {
	e := &transfer.Error{Op: fmt.Sprintf("%s chunk %d", op, c.Index), Code: transfer.CodeOf(err), Offset: &c.Off, Err: err}
	var cause *transfer.Error
	if errors.As(err, &cause) {
		e.Hint = cause.Hint
		if cause.Offset != nil {
			e.Offset = cause.Offset
		}
	}
	return e
}
