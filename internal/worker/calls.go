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

// operation is what a call does.
type operation int

const (
	opControl   operation = iota // run, on the source or target as a whole
	opRead                       // fill p from the source
	opWrite                      // store p in the target
	opWriteBack                  // store p and read it back, in one pass
	opReadBack                   // read what the target stores
	opReadDisk                   // likewise, from the disk and not from its host's page cache
	opClear                      // make the chunk zeros in the target
)

// call is one call to the source or the target of a job.
type call struct {
	op       operation
	chunk    transfer.Chunk
	seq      int64             // of opWrite to a target that is written in order: its position
	p        []byte            // the chunk's bytes
	prepared transfer.Prepared // of opWrite: the chunk, if the sink is a Preparer; otherwise nil
	cmp      *verify.Comparer  // takes what is read back; it is reset before each try
	want     []byte            // the expected bytes; nil: only the digest is computed
	limits   *limits           // of the copy that makes the call; nil: none
	run      func(ctx context.Context) error
}

// limits is the flow control of a copy.
type limits struct {
	window *flow.Window
	duplex *flow.Duplex // nil: the copy does not write and then read back
	split  *flow.Split  // nil: likewise
}

// spareLanes is how many lanes read and compress while the others keep both directions busy.
const spareLanes = 3

// initialCalls is how many calls may run in each direction until Split.Calls is known. With more,
// all pieces would be written at once and then all be read back at once.
const initialCalls = 4

// lanes returns how many lanes keep both directions busy; 0: not known. A lane with pieces writes and
// reads back at once, one with whole chunks only one of them.
func (l *limits) lanes() int {
	calls := l.split.Calls()
	switch {
	case calls == 0:
		return 0
	case l.split.Splits():
		return calls + spareLanes
	}
	return 2*calls + spareLanes
}

// calls returns how many calls may run in both directions together, and in each: no more than keep
// them busy. As long as that is not known, whole chunks have one for each chunk in flight, and each is
// 0.
func (l *limits) calls() (both, each int) {
	limit, calls := l.window.Limit(), l.split.Calls()
	switch {
	case l.split.Splits():
		both = 2 * min(cmp.Or(calls, initialCalls), limit)
	case calls > 0:
		both = min(2*calls, limit)
	default:
		both = limit
	}
	if 2*calls <= both {
		each = calls
	}
	return both, each
}

// caller makes calls to the source or to the target. The decorators below wrap a caller. Every call
// of a job passes one of these stacks:
//
//	target: ordered → retrying → duplexed → breaking → refusingHeld → leased →
//	        awaitingVisibility → tracking → timed → sink
//	source: retrying → breaking → refusingHeld → tracking → source
//	clones of the source: retrying → breaking → leased → awaitingVisibility → tracking
//
// A chunk that waits for a retry must not hold a slot of its direction, so retrying is outside of
// duplexed. A chunk that waits for a busy drive may hold one, because no other call can pass
// either. The lease is checked last. The client of an endpoint checks it again after it has waited
// for a free slot.
type caller interface {
	do(ctx context.Context, c *call) error
}

// newSourceCalls returns the stack of calls to the source. endpoint is empty if that is not a
// drive. held returns the error of a drive that a running server holds; nil: none does.
func newSourceCalls(e *ends, r *retrier, endpoint string, held heldFunc) caller {
	c := &refusingHeld{held, &tracking{r.count, endpoint, &sourceCalls{e}}}
	return &retrying{r, &breaking{r, new(flow.Breaker), c}}
}

// newTargetCalls returns the stack of calls to the target, under the job's lease. endpoint is empty
// if that is not a drive. made returns when the job made the drive; zero: it did not. held is as for
// the source.
func newTargetCalls(
	e *ends, r *retrier, endpoint string, l *lease.Lease, made func() time.Time, held heldFunc,
) caller {
	var c caller = &tracking{r.count, endpoint, &timed{&targetCalls{e}}}
	c = &awaitingVisibility{made, r.policy.NotYetVisible, c}
	c = &refusingHeld{held, &leased{l, e, c}}
	c = &breaking{r, new(flow.Breaker), c}
	return &ordered{e, flow.NewSequencer(), &retrying{r, &duplexed{c}}}
}

// newSnapshotCalls returns the stack of calls about clones of the source drive, under the job's
// lease. requested returns when the clone was requested.
func newSnapshotCalls(r *retrier, endpoint string, l *lease.Lease, requested func() time.Time) caller {
	e := new(ends) // all calls have opControl
	var c caller = &tracking{r.count, endpoint, &sourceCalls{e}}
	c = &leased{l, e, &awaitingVisibility{requested, r.policy.NotYetVisible, c}}
	return &retrying{r, &breaking{r, new(flow.Breaker), c}}
}

// control makes a call that concerns the source or target as a whole.
func control(ctx context.Context, end caller, run func(ctx context.Context) error) error {
	return end.do(ctx, &call{op: opControl, run: run})
}

// retrier retries the calls of a job.
type retrier struct {
	policy  flow.Policy
	count   *counters
	log     *zap.Logger
	drain   <-chan struct{}
	reached bool // source and target have responded to the job, in this attempt or an earlier one
}

// drainOf returns the channel that ends the waits of a call; nil for a chunk in flight, which a
// stopping worker finishes.
func (r *retrier) drainOf(c *call) <-chan struct{} {
	if c.limits != nil {
		return nil
	}
	return r.drain
}

// retry repeats a call that has failed with err until it succeeds, fails with another verdict or
// has failed for too long. The job's progress shows a long wait.
func (r *retrier) retry(ctx context.Context, c *call, verdict transfer.Retry, err error, next caller) error {
	defer r.count.endWait(c)
	loop := flow.Retry{
		Policy: &r.policy, Verdict: verdict, Reached: r.reached,
		Drain: r.drain, InFlight: c.limits != nil, RequestedWait: &r.count.requested,
		OnFailure: func(err error, pause flow.Pause) {
			r.count.countRetry(transfer.CodeOf(err))
			if c.limits != nil {
				c.limits.window.Failed(transfer.CodeOf(err))
			}
			r.noteWait(c, err, pause)
		},
	}
	return loop.Run(ctx, err, func() error { return next.do(ctx, c) })
}

// noteWait records a wait for the job's progress if the wait is long, or if the call has failed for
// long.
func (r *retrier) noteWait(c *call, err error, pause flow.Pause) {
	r.log.Debug("call failed, retrying", zap.Time("until", pause.Until), zap.Error(err))
	if pause.Until.Sub(pause.Since) < flow.LongWait {
		return
	}
	r.count.beginWait(c, transfer.Waiting{
		Code: transfer.CodeOf(err), Cause: err.Error(),
		Since: jsonTime(pause.Since), Until: jsonTime(pause.Until), GivesUp: jsonTime(pause.GivesUp),
	})
}

// jsonTime returns a time as a job's JSON has it.
func jsonTime(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// retrying retries calls whose failure concerns them alone.
type retrying struct {
	*retrier
	next caller
}

func (r *retrying) do(ctx context.Context, c *call) error {
	err := r.next.do(ctx, c)
	if transfer.CodeOf(err).Retry() != transfer.RetryCall || flow.GaveUp(err) {
		return err
	}
	return r.retry(ctx, c, transfer.RetryCall, err, r.next)
}

// breaking holds back all calls to a busy source or target, except one.
type breaking struct {
	*retrier
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
			return b.retry(ctx, c, transfer.RetryDrive, err, b.next)
		}
		b.count.countRetry(transfer.CodeOf(err))
	}
}

// heldFunc returns the error of a drive that a running server holds; nil: none does, or that is not
// known. refusal is the endpoint's.
type heldFunc func(ctx context.Context, refusal error) error

// refusingHeld ends a job whose drive a running server holds. To the endpoint the drive is busy, but
// it may stay so for months.
type refusingHeld struct {
	held heldFunc
	next caller
}

func (h *refusingHeld) do(ctx context.Context, c *call) error {
	err := h.next.do(ctx, c)
	if transfer.CodeOf(err) == transfer.CodeConflict {
		if held := h.held(ctx, err); held != nil {
			return held
		}
	}
	return err
}

// ordered writes chunks in order if the sink requires it.
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

// duplexed limits the calls in each direction of the link.
type duplexed struct{ next caller }

// direction returns the direction in which a call moves a chunk; ok is false if it moves none.
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
	if !moves || c.limits == nil {
		return d.next.do(ctx, c)
	}
	if err := c.limits.duplex.Begin(ctx, dir); err != nil {
		return err
	}
	defer c.limits.duplex.End(dir)
	return d.next.do(ctx, c)
}

// leased makes a call only while there is proof that the job is still this worker's. A worker that
// was suspended, or has lost the store, must not change a target that another worker may have
// completed. A call is cut when the proof lapses, and repeated after the next renewal. That is not
// a failure: it is not counted and not limited in time, because the store may be unreachable for
// long. A call to a target that is written in order cannot be repeated; the sink checks the lease
// itself.
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

// bind returns a context that ends when the proof lapses, if the call can be repeated.
func (l *leased) bind(ctx context.Context) (bound context.Context, release context.CancelFunc) {
	if l.ends.sink != nil && !l.ends.traits.Rewritable {
		return ctx, func() {}
	}
	return l.lease.Bind(ctx)
}

// awaitingVisibility treats "not found" like "busy" while the drive is new: parts of an endpoint
// may not know the drive yet.
type awaitingVisibility struct {
	made  func() time.Time
	limit time.Duration // how long a drive is new
	next  caller
}

func (a *awaitingVisibility) do(ctx context.Context, c *call) error {
	err := a.next.do(ctx, c)
	if transfer.CodeOf(err) != transfer.CodeNotFound {
		return err
	}
	if made := a.made(); made.IsZero() || time.Since(made) > a.limit {
		return err
	}
	return &transfer.Error{Op: "wait for the new drive", Code: transfer.CodeConflict, Err: err}
}

// tracking counts the calls in flight to an endpoint. With them a silent endpoint is distinguished
// from an idle job.
type tracking struct {
	count    *counters
	endpoint string // empty: the calls go to none
	next     caller
}

func (t *tracking) do(ctx context.Context, c *call) error {
	if t.endpoint == "" {
		return t.next.do(ctx, c)
	}
	t.count.beginCall(t.endpoint)
	defer t.count.endCall(t.endpoint)
	return t.next.do(ctx, c)
}

// timed records the duration of successful calls, for Duplex and Split.
type timed struct{ next caller }

func (t *timed) do(ctx context.Context, c *call) error {
	dir, moves := c.direction()
	if !moves || c.limits == nil {
		return t.next.do(ctx, c)
	}
	began := time.Now()
	err := t.next.do(ctx, c)
	if err == nil {
		took := time.Since(began)
		c.limits.duplex.Observe(dir, took)
		if c.op == opWrite {
			c.limits.split.Observe(c.chunk.Len, took, c.limits.duplex.Running(dir))
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
		if c.prepared != nil {
			return c.prepared.Write(ctx)
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
