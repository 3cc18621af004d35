package worker

import (
	"cmp"
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/flow"
	"github.com/transferd/transferd/internal/lease"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/verify"
)

// operation is what a call asks of an end.
type operation int

const (
	opControl   operation = iota // what concerns the end as a whole: the call's run says what
	opRead                       // fill p from the source
	opWrite                      // store p in the target
	opWriteBack                  // store p and read it back, piece by piece
	opReadBack                   // read what the target stores
	opReadDisk                   // likewise, from the disk and not from what its host caches
	opClear                      // make the chunk zeros in the target
)

// call is one call to an end of a job.
type call struct {
	op    operation
	chunk transfer.Chunk
	seq   int64             // of opWrite to a target that is written in order: its place in the order
	p     []byte            // the chunk's bytes
	ready transfer.Prepared // of opWrite: the chunk, if the sink prepared it; else nil
	cmp   *verify.Comparer  // takes what is read back; it is reset before each try
	want  []byte            // what cmp compares it with; nil: only the digest is wanted
	pace  *pace             // of the copy that makes the call; nil: none
	run   func(ctx context.Context) error
}

// pace is what limits the calls of a copy.
type pace struct {
	window *flow.Window
	duplex *flow.Duplex // nil: the copy does not both write and read back
	split  *flow.Split  // nil: likewise
}

// spareLanes is how many lanes compress a piece while the others keep both directions busy.
const spareLanes = 3

// unsettledCalls is how many calls write pieces, and how many read them back, until it is known how
// many keep a direction busy. More would all be written at once and then all be read back at once.
const unsettledCalls = 4

// lanes is how many lanes pieces need; 0: it is not known.
func (p *pace) lanes() int {
	if n := p.split.Calls(); n > 0 {
		return n + spareLanes
	}
	return 0
}

// calls is how many calls may run in both directions together: one for each chunk in flight, two for
// each lane that reads pieces back while it writes others, or as many as are known to keep both
// directions busy.
func (p *pace) calls() int {
	limit := p.window.Limit()
	if !p.split.Splits() {
		return limit
	}
	return 2 * min(cmp.Or(p.split.Calls(), unsettledCalls), limit)
}

// caller makes calls to one end. The decorators below are callers around a caller; together they are
// the way of every call of a job:
//
//	target: ordered → retrying → duplexed → breaking → leased → settling → attended → timed → the sink
//	source: retrying → breaking → attended → the source
//
// A chunk that waits to be tried again holds no place in its direction, so retrying is outside of
// duplexed; one that waits for a busy drive does, for no other call could pass either. The lease is
// asked for last; a client that waits for a free slot of its endpoint after that asks once more.
type caller interface {
	do(ctx context.Context, c *call) error
}

// newSourceCalls is the way of calls to the source.
func newSourceCalls(e *ends, p *patience, endpoint string) caller {
	return &retrying{p, &breaking{p, new(flow.Breaker), &attended{p.count, endpoint, &sourceCalls{e}}}}
}

// newTargetCalls is the way of calls to the target, under the job's lease. made returns when the
// job made the target drive, zero if it did not.
func newTargetCalls(e *ends, p *patience, endpoint string, l *lease.Lease, made func() time.Time) caller {
	var c caller = &attended{p.count, endpoint, &timed{&targetCalls{e}}}
	c = &settling{made, p.policy.Young, c}
	c = &leased{l, e, c}
	c = &breaking{p, new(flow.Breaker), c}
	return &ordered{e, flow.NewSequencer(), &retrying{p, &duplexed{c}}}
}

// control makes a call that concerns an end as a whole.
func control(ctx context.Context, end caller, run func(ctx context.Context) error) error {
	return end.do(ctx, &call{op: opControl, run: run})
}

// patience is how the calls of a job are tried again.
type patience struct {
	policy  flow.Policy
	count   *counters
	log     *zap.Logger
	drain   <-chan struct{}
	reached bool // both ends have answered the job, in this attempt or an earlier one
}

// drainOf is what ends the waits of a call. Chunks in flight end, whatever they meet.
func (p *patience) drainOf(c *call) <-chan struct{} {
	if c.pace != nil {
		return nil
	}
	return p.drain
}

// again makes a call that has failed with err once more, until it succeeds, fails with another
// verdict or has failed for too long. What it waits for is shown meanwhile.
func (p *patience) again(ctx context.Context, c *call, verdict transfer.Retry, err error, next caller) error {
	defer p.count.waitEnds(c)
	r := flow.Retry{
		Policy: &p.policy, Verdict: verdict, Reached: p.reached,
		Drain: p.drain, Finish: c.pace != nil, Asked: &p.count.asked,
		OnFailure: func(err error, pause flow.Pause) {
			p.count.retry(transfer.CodeOf(err))
			if c.pace != nil {
				c.pace.window.Failed(transfer.CodeOf(err))
			}
			p.noteWait(c, err, pause)
		},
	}
	return r.Run(ctx, err, func() error { return next.do(ctx, c) })
}

// noteWait shows a wait that is long, or one of many, in the job's progress and, if it is the job's
// longest one, in the log.
func (p *patience) noteWait(c *call, err error, pause flow.Pause) {
	p.log.Debug("retrying", zap.Time("until", pause.Until), zap.Error(err))
	if pause.Until.Sub(pause.Since) < flow.LongWait {
		return
	}
	p.count.waitBegins(c, transfer.Waiting{
		Code: transfer.CodeOf(err), Cause: err.Error(),
		Since: shown(pause.Since), Until: shown(pause.Until), GivesUp: shown(pause.GivesUp),
	})
}

// shown is a time as a job's JSON has it.
func shown(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// retrying makes calls again whose failure concerns them alone.
type retrying struct {
	*patience
	next caller
}

func (r *retrying) do(ctx context.Context, c *call) error {
	err := r.next.do(ctx, c)
	if transfer.CodeOf(err).Retry() != transfer.RetryCall || flow.GaveUp(err) {
		return err
	}
	return r.again(ctx, c, transfer.RetryCall, err, r.next)
}

// breaking holds all calls to an end back while it is busy.
type breaking struct {
	*patience
	breaker *flow.Breaker
	next    caller
}

func (b *breaking) do(ctx context.Context, c *call) error {
	for {
		if err := b.breaker.Wait(ctx, b.drainOf(c)); err != nil {
			return err
		}
		err := b.next.do(ctx, c)
		if transfer.CodeOf(err).Retry() != transfer.RetryDrive || flow.GaveUp(err) {
			return err
		}
		if b.breaker.Trip() {
			defer b.breaker.Reset()
			return b.again(ctx, c, transfer.RetryDrive, err, b.next)
		}
		b.count.retry(transfer.CodeOf(err))
	}
}

// ordered writes in order where the sink demands it.
type ordered struct {
	ends  *ends
	order *flow.Sequencer
	next  caller
}

func (o *ordered) do(ctx context.Context, c *call) error {
	if c.op != opWrite || o.ends.traits.Rewritable {
		return o.next.do(ctx, c)
	}
	return o.order.Do(ctx, c.seq, func() error { return o.next.do(ctx, c) })
}

// duplexed gives each direction of the link its share of the calls.
type duplexed struct{ next caller }

// direction is the direction in which a call moves a chunk; ok is false if it moves none.
func (c *call) direction() (dir flow.Direction, ok bool) {
	switch c.op {
	case opWrite, opClear:
		return flow.Write, true
	case opReadBack, opReadDisk:
		return flow.ReadBack, true
	}
	return 0, false
}

func (d *duplexed) do(ctx context.Context, c *call) error {
	dir, moves := c.direction()
	if !moves || c.pace == nil {
		return d.next.do(ctx, c)
	}
	if err := c.pace.duplex.Begin(ctx, dir); err != nil {
		return err
	}
	defer c.pace.duplex.End(dir)
	return d.next.do(ctx, c)
}

// leased makes a call only while it is proven that the job is still this worker's: a worker that
// was stopped, or has lost the store, must not touch what another one may have finished. A call is
// cut when the proof lapses, and made again when there is a new one. That is no failure: nothing
// counts it, and no time limits it, for a store may be away for long. A call to a target that is
// written in order cannot be made again; it waits for the proof inside.
type leased struct {
	lease *lease.Lease
	ends  *ends
	next  caller
}

func (l *leased) do(ctx context.Context, c *call) error {
	for {
		if err := l.lease.Await(ctx); err != nil {
			return err
		}
		bound, release := l.bind(ctx)
		err := l.next.do(bound, c)
		cut := lease.Cut(bound, err)
		release()
		if !cut || ctx.Err() != nil {
			return err
		}
	}
}

func (l *leased) bind(ctx context.Context) (bound context.Context, release context.CancelFunc) {
	if l.ends.sink != nil && !l.ends.traits.Rewritable {
		return ctx, func() {}
	}
	return l.lease.Bind(ctx)
}

// settling takes "no such drive" for "busy" while the drive is new: parts of an endpoint may not know
// it yet.
type settling struct {
	made  func() time.Time
	young time.Duration
	next  caller
}

func (s *settling) do(ctx context.Context, c *call) error {
	err := s.next.do(ctx, c)
	if transfer.CodeOf(err) != transfer.CodeNotFound {
		return err
	}
	if made := s.made(); made.IsZero() || time.Since(made) > s.young {
		return err
	}
	return &transfer.Error{Op: "wait for the new drive", Code: transfer.CodeConflict, Err: err}
}

// attended notes which calls to an endpoint are under way, by which a silent endpoint is told from
// a job that asks nothing of it.
type attended struct {
	count    *counters
	endpoint string // empty: the end is at none
	next     caller
}

func (a *attended) do(ctx context.Context, c *call) error {
	if a.endpoint == "" {
		return a.next.do(ctx, c)
	}
	a.count.callBegins(a.endpoint)
	defer a.count.callEnds(a.endpoint)
	return a.next.do(ctx, c)
}

// timed observes how long successful calls take, for the shares of the directions.
type timed struct{ next caller }

func (t *timed) do(ctx context.Context, c *call) error {
	dir, moves := c.direction()
	if !moves || c.pace == nil {
		return t.next.do(ctx, c)
	}
	began := time.Now()
	err := t.next.do(ctx, c)
	if err == nil {
		took := time.Since(began)
		c.pace.duplex.Observe(dir, took)
		if c.op == opWrite {
			c.pace.split.Observe(c.chunk.Len, took, c.pace.duplex.Running(dir))
		}
	}
	return err
}

// sourceCalls makes calls to the source itself.
type sourceCalls struct{ ends *ends }

func (s *sourceCalls) do(ctx context.Context, c *call) error {
	if c.op == opRead {
		return s.ends.random.ReadChunk(ctx, c.chunk, c.p)
	}
	return c.run(ctx)
}

// targetCalls makes calls to the sink itself.
type targetCalls struct{ ends *ends }

func (t *targetCalls) do(ctx context.Context, c *call) error {
	switch c.op {
	case opWrite:
		if c.ready != nil {
			return c.ready.Write(ctx)
		}
		return t.ends.sink.WriteChunk(ctx, c.chunk, c.p)
	case opWriteBack:
		c.cmp.Reset(c.p)
		return t.ends.writeBack.WriteBack(ctx, c.chunk, c.p, c.cmp)
	case opReadBack:
		c.cmp.Reset(c.want)
		return t.ends.readBack.ReadBack(ctx, c.chunk, c.cmp)
	case opReadDisk:
		c.cmp.Reset(c.want)
		return t.ends.disk.ReadDisk(ctx, c.chunk, c.cmp)
	case opClear:
		return t.ends.clear.ClearChunk(ctx, c.chunk)
	}
	return c.run(ctx)
}
