package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/verify"
)

// run is one attempt at a job.
type run struct {
	worker               *Worker
	task                 Task
	store                transfer.Store
	ledger               *ledger
	count                *counters
	retry                *retrier
	sourceGate, sinkGate *gate
	drain                <-chan struct{}
	stop                 context.CancelCauseFunc
	log                  *zap.Logger
	created              time.Time // when this attempt made the target drive
}

var errDrained = transfer.Errorf(transfer.CodeDrained, "the job goes on when a worker takes it up again", "the worker is stopping")

var errEmpty = transfer.Errorf(transfer.CodeInvalid, "nothing came from the source", "the image is empty")

func (r *run) run(ctx context.Context) error {
	if err := r.load(ctx); err != nil {
		return err
	}
	if err := r.claimDrives(ctx); err != nil {
		return err
	}
	switch s := r.task.Spec; {
	case s.Kind == transfer.Clone && s.Source.Endpoint == s.Target.Endpoint:
		return r.cloneInPlace(ctx)
	case s.Kind == transfer.Verify:
		return r.transfer(ctx, compareOnly)
	default:
		return r.transfer(ctx, copyChunks)
	}
}

func (r *run) load(ctx context.Context) error {
	var at transfer.Checkpoint
	err := r.retry.within(ctx, r.sourceGate, r.retry.policy.Call, func() (err error) {
		at, err = r.store.Load(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("load checkpoint: %w", err)
	}
	r.task.Plan, r.ledger = at.Plan, newLedger(at.Entries)
	r.task.Resume = len(at.Entries) > 0
	r.count.update(func(p *transfer.Progress) {
		*p = at.Progress
		p.Digest.Algorithm = verify.Algorithm
	})
	return nil
}

// claimDrives keeps other jobs from writing what this one reads or writes, and waits for those that do.
func (r *run) claimDrives(ctx context.Context) error {
	s := &r.task.Spec
	if s.Source.Drive != "" {
		if err := r.claim(ctx, r.sourceGate, transfer.Claim{Endpoint: s.Source.Endpoint, Drive: s.Source.Drive}); err != nil {
			return err
		}
	}
	if target := cmp.Or(r.task.Plan.Drive, s.Target.Drive); s.Target.IsDrive() && target != "" {
		return r.claim(ctx, r.sinkGate, transfer.Claim{Endpoint: s.Target.Endpoint, Drive: target, Write: true})
	}
	return nil
}

func (r *run) claim(ctx context.Context, g *gate, c transfer.Claim) error {
	claimer, ok := r.store.(transfer.Claimer)
	if !ok {
		return nil
	}
	err := r.retry.call(ctx, g, func() error { return claimer.Claim(ctx, c) })
	if err != nil {
		return fmt.Errorf("claim drive: %w", err)
	}
	return nil
}

// transfer opens both ends and moves or compares everything between them.
func (r *run) transfer(ctx context.Context, mode mode) (err error) {
	src, err := r.openSource(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	if src.Size() == 0 {
		return errEmpty
	}
	sink, err := r.openSink(ctx, src.Size())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sink.Close()) }()
	c := &copier{run: r, src: src, sink: sink, mode: mode, size: src.Size()}
	if err := r.settle(ctx, c); err != nil {
		return err
	}
	err = c.copy(ctx)
	if err == nil {
		err = r.finish(ctx, c)
	}
	if mode == compareOnly {
		// What was equal once need not be when the job is retried, perhaps because somebody has mended the rest.
		if transfer.CodeOf(err) == transfer.CodeMismatch {
			r.ledger.clear()
			err = errors.Join(err, r.save(ctx))
		}
		return err // nothing here is the job's own to remove
	}
	return errors.Join(err, r.discard(ctx, sink, err))
}

func (r *run) openSource(ctx context.Context) (src transfer.Source, err error) {
	err = r.retry.within(ctx, r.sourceGate, r.retry.policy.Open, func() error {
		src, err = r.worker.cfg.Opener.Source(ctx, &r.task)
		return err
	})
	if err != nil {
		return nil, err
	}
	if known := r.task.Plan.Source; known != "" && src.Identity() != "" && known != src.Identity() {
		return nil, errors.Join(&transfer.Error{
			Op: "resume", Code: transfer.CodeSourceChanged, Hint: "start a new job for the image as it is now",
			Err: fmt.Errorf("the source has changed since the job began (it was %s, it is %s)", known, src.Identity()),
		}, src.Close())
	}
	return src, nil
}

func (r *run) openSink(ctx context.Context, size int64) (sink transfer.Sink, err error) {
	had := r.task.Plan.Drive
	err = r.retry.within(ctx, r.sinkGate, r.retry.policy.Open, func() error {
		sink, err = r.worker.cfg.Opener.Sink(ctx, &r.task, size)
		r.task.Again = true
		return r.young(err)
	})
	if err != nil {
		return nil, err
	}
	if err := r.noteDrive(ctx, had); err != nil {
		return nil, errors.Join(err, sink.Close())
	}
	return sink, nil
}

// noteDrive saves the target drive before anything is done to it, so that a job makes one drive however often it is
// cut off.
func (r *run) noteDrive(ctx context.Context, had string) error {
	drive := r.task.Plan.Drive
	if drive == had {
		return nil
	}
	if r.task.Plan.Created {
		r.created = time.Now()
	}
	r.count.update(func(p *transfer.Progress) { p.Drive = drive })
	if err := r.saveSurely(ctx); err != nil {
		return err
	}
	return r.claim(ctx, r.sinkGate, transfer.Claim{Endpoint: r.task.Spec.Target.Endpoint, Drive: drive, Write: true})
}

// settle fixes what all attempts of the job keep, on the first; on later ones it makes sure that what the ledger calls
// done is really there.
func (r *run) settle(ctx context.Context, c *copier) error {
	plan := &r.task.Plan
	first := plan.ChunkSize == 0
	if first {
		plan.ChunkSize = r.task.Spec.ChunkSize
		plan.Source = c.src.Identity()
		if d, ok := c.src.(transfer.Digested); ok {
			plan.ChunkSize = d.ChunkSize()
		}
		if err := r.proveBlank(ctx, c); err != nil {
			return err
		}
	}
	if _, ok := c.sink.(transfer.InOrder); ok {
		r.ledger.clear()
	} else if err := c.trustLedger(ctx); err != nil {
		return err
	}
	c.chunkSize = plan.ChunkSize
	// A source that nothing tells from another one may hold zeros now where an earlier attempt wrote something, without
	// saving that it did.
	c.skipZeros = plan.Blank && (first || c.src.Identity() != "")
	r.setSize(c.size)
	if err := c.countDone(ctx); err != nil {
		return err
	}
	if !first {
		return nil
	}
	return r.saveSurely(ctx)
}

func (r *run) proveBlank(ctx context.Context, c *copier) error {
	b, ok := c.sink.(transfer.Blank)
	if !ok || c.mode == compareOnly {
		return nil
	}
	return r.retry.call(ctx, r.sinkGate, func() (err error) {
		r.task.Plan.Blank, err = b.Blank(ctx)
		return r.young(err)
	})
}

// young turns "no such drive" into "busy" for a drive that this attempt made a moment ago: parts of an endpoint may
// not have heard of it yet.
func (r *run) young(err error) error {
	if transfer.CodeOf(err) != transfer.CodeNotFound || r.created.IsZero() || time.Since(r.created) > r.retry.policy.Young {
		return err
	}
	return &transfer.Error{Op: "wait for the new drive", Code: transfer.CodeConflict, Err: err}
}

func (r *run) setSize(size int64) {
	if size < 0 {
		return
	}
	r.task.Plan.Size = size
	r.count.update(func(p *transfer.Progress) {
		p.Size, p.Chunks.Total = size, transfer.ChunkCount(size, r.task.Plan.ChunkSize)
	})
}

// finish proves the whole, completes the target and saves the result.
func (r *run) finish(ctx context.Context, c *copier) error {
	if u, ok := c.src.(interface{ Unchanged(context.Context) error }); ok {
		if err := u.Unchanged(ctx); err != nil {
			return err
		}
	}
	if err := c.prove(ctx); err != nil {
		return err
	}
	m := verify.NewManifest(c.size, c.chunkSize, r.ledger.nonZero(c.size, c.chunkSize), c.imageDigest())
	if want := r.task.Spec.SHA256; want != "" && !equalHex(want, m.Image) {
		return &transfer.Error{
			Op: "check --sha256", Code: transfer.CodeMismatch, Hint: "this is not the image that was meant, or --sha256 is wrong",
			Err: fmt.Errorf("the image has SHA-256 %s, not %s", m.Image, want),
		}
	}
	// What is done is saved before the target appears, so that a crash in between finds all chunks in the ledger.
	if err := r.saveSurely(ctx); err != nil {
		return err
	}
	if c.mode == copyChunks {
		if err := r.retry.call(ctx, r.sinkGate, func() error { return r.young(c.sink.Commit(ctx, m)) }); err != nil {
			return fmt.Errorf("complete target: %w", err)
		}
	}
	r.count.update(func(p *transfer.Progress) {
		p.Digest.Image, p.Digest.ChunksRoot = m.Image, m.ChunksRoot
		if p.Verified = c.verified(); p.Verified && !c.readsBack() {
			p.Chunks.Verified = p.Chunks.Total // all at once, when the target was completed
		}
	})
	return r.saveSurely(ctx)
}

// discard removes a target that this job made and that no later attempt can complete.
func (r *run) discard(ctx context.Context, sink transfer.Sink, cause error) error {
	d, ok := sink.(transfer.Discarder)
	code := transfer.CodeOf(cause)
	hopeless := code == transfer.CodeInvalid || code == transfer.CodeSourceChanged || (code == transfer.CodeMismatch && r.task.Spec.SHA256 != "")
	if !ok || !hopeless {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := d.Discard(ctx); err != nil {
		return fmt.Errorf("remove what was made: %w", err)
	}
	if r.task.Plan.Created {
		r.task.Plan = transfer.Plan{}
		r.ledger.clear()
		r.count.update(func(p *transfer.Progress) { p.Drive = "" })
	}
	return r.save(ctx)
}
