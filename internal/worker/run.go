package worker

import (
	"cmp"
	"context"
	"crypto/rand"
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
	action               transfer.Action
	vouched              bool // nobody else has written the target since the job last claimed it
}

var errDrained = transfer.Errorf(transfer.CodeDrained, "the job goes on when a worker takes it up again", "the worker is stopping")

var errEmpty = transfer.Errorf(transfer.CodeInvalid, "nothing came from the source", "the image is empty")

func (r *run) run(ctx context.Context) error {
	if err := r.load(ctx); err != nil {
		return err
	}
	if err := r.claimDrives(ctx); err != nil {
		return r.abandon(ctx, err)
	}
	r.retry.met = r.task.Plan.ChunkSize > 0 || !r.task.Plan.Created.IsZero()
	switch {
	case r.action.EndpointCopies:
		return r.cloneInPlace(ctx)
	case r.action.Writes:
		return r.transfer(ctx, copyChunks)
	default:
		return r.transfer(ctx, compareOnly)
	}
}

// readsOnly reports whether the job leaves both ends as they are.
func (r *run) readsOnly() bool { return !r.action.Writes && !r.action.EndpointCopies }

func (r *run) load(ctx context.Context) error {
	var at transfer.Checkpoint
	r.retry.met = true // the store had the job a moment ago
	err := r.retry.call(ctx, r.sourceGate, func() (err error) {
		at, err = r.store.Load(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("load checkpoint: %w", err)
	}
	r.task.Plan, r.ledger = at.Plan, newLedger(at.Entries)
	r.task.Again, r.task.Resume = at.Plan.Asked, len(at.Entries) > 0
	r.count.update(func(p *transfer.Progress) {
		*p = at.Progress
		p.Digest.Algorithm = verify.Algorithm
	})
	return nil
}

// claimDrives keeps other jobs from writing what this one reads or writes, and waits for those that do.
func (r *run) claimDrives(ctx context.Context) error {
	s := &r.task.Spec
	if r.readsOnly() {
		return r.claimCompared(ctx)
	}
	if s.Source.Drive != "" {
		if err := r.claimSource(ctx); err != nil {
			return err
		}
	}
	if target := cmp.Or(r.task.Plan.Drive, s.Target.Drive); s.Target.IsDrive() && target != "" {
		return r.claimTarget(ctx, target)
	}
	return nil
}

// claimCompared finds out, too, whether another job has written the drive since what the ledger has was compared.
func (r *run) claimCompared(ctx context.Context) error {
	t, plan := r.task.Spec.Target, &r.task.Plan
	last, err := r.claim(ctx, r.sinkGate, transfer.Claim{Endpoint: t.Endpoint, Drive: t.Drive})
	if err != nil {
		return err
	}
	if plan.ChunkSize == 0 {
		plan.ReadMark = last // nothing has been compared yet
	}
	r.vouched = last == plan.ReadMark || last == ""
	return nil
}

// claimSource finds out, too, whether another job has written the drive between two attempts: what was read before then
// and what would be read now are no image together.
func (r *run) claimSource(ctx context.Context) error {
	s, plan := &r.task.Spec, &r.task.Plan
	last, err := r.claim(ctx, r.sourceGate, transfer.Claim{Endpoint: s.Source.Endpoint, Drive: s.Source.Drive})
	if err != nil {
		return err
	}
	if plan.ChunkSize == 0 && plan.Drive == "" {
		plan.ReadMark = last // nothing has been read yet
	}
	same := last == plan.ReadMark || last == "" // forgotten
	if !same {
		return &transfer.Error{
			Op: "resume", Code: transfer.CodeSourceChanged, Hint: "start a new job for the drive as it is now",
			Err: fmt.Errorf("another job has written to drive %s since the job began", s.Source.Drive),
		}
	}
	return nil
}

// claimTarget marks the drive as this attempt's. Whether it was the job's before is settled, and saved, before anything is
// written: only a plan that has the mark of the last claim vouches for what is on the drive.
func (r *run) claimTarget(ctx context.Context, drive string) error {
	mark := rand.Text()
	last, err := r.claim(ctx, r.sinkGate, transfer.Claim{Endpoint: r.task.Spec.Target.Endpoint, Drive: drive, Mark: mark})
	if err != nil {
		return err
	}
	r.vouched = last != "" && last == r.task.Plan.WriteMark
	r.task.Plan.WriteMark = mark
	return nil
}

func (r *run) claim(ctx context.Context, g *gate, c transfer.Claim) (last string, err error) {
	claimer, ok := r.store.(transfer.Claimer)
	if !ok {
		return "", nil
	}
	err = r.retry.call(ctx, g, func() error {
		last, err = claimer.Claim(ctx, c)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("claim drive: %w", err)
	}
	return last, nil
}

// transfer opens both ends and moves or compares everything between them.
func (r *run) transfer(ctx context.Context, mode mode) (err error) {
	src, err := r.openSource(ctx)
	if err != nil {
		return r.abandon(ctx, err)
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	if src.Size() == 0 {
		return errEmpty
	}
	sink, err := r.openSink(ctx, src.Size())
	if r.gone(err) {
		if err = r.forget(ctx); err == nil {
			sink, err = r.openSink(ctx, src.Size())
		}
	}
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
		return r.compared(ctx, src, err) // nothing here is the job's own to remove
	}
	return errors.Join(err, r.discard(ctx, sink, err))
}

// compared tells a difference from an image that changed while it was read.
func (r *run) compared(ctx context.Context, src transfer.Source, err error) error {
	if transfer.CodeOf(err) != transfer.CodeMismatch {
		return err
	}
	if changed := unchanged(ctx, src); changed != nil {
		err = changed
	}
	// What was equal once need not be when the job is retried, perhaps because somebody has mended the rest.
	r.ledger.clear()
	return errors.Join(err, r.save(ctx))
}

func unchanged(ctx context.Context, src transfer.Source) error {
	if u, ok := src.(transfer.ChangeDetector); ok {
		return u.Unchanged(ctx)
	}
	return nil
}

func (r *run) openSource(ctx context.Context) (src transfer.Source, err error) {
	err = r.retry.call(ctx, r.sourceGate, func() error {
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
	if err := r.asking(ctx); err != nil {
		return nil, err
	}
	had := r.task.Plan.Drive
	err = r.retry.call(ctx, r.sinkGate, func() error {
		sink, err = r.worker.cfg.Opener.Sink(ctx, &r.task, size)
		r.task.Again = true
		return r.young(err)
	})
	if err != nil {
		return nil, errors.Join(err, r.noteDrive(ctx, had)) // it may have been made, and not be there to open
	}
	r.retry.met = true
	if err := r.noteDrive(ctx, had); err != nil {
		return nil, errors.Join(err, sink.Close())
	}
	return sink, nil
}

// asking saves that a drive may be made from now on: a later attempt looks for it before it makes one.
func (r *run) asking(ctx context.Context) error {
	t := r.task.Spec.Target
	if r.task.Plan.Asked || !t.IsDrive() || t.Drive != "" || r.task.Plan.Drive != "" {
		return nil
	}
	r.task.Plan.Asked = true
	return r.saveSurely(ctx)
}

// noteDrive saves the target drive before anything is done to it, so that a job makes one drive however often it is
// cut off.
func (r *run) noteDrive(ctx context.Context, had string) error {
	drive := r.task.Plan.Drive
	if drive == had {
		return nil
	}
	r.count.update(func(p *transfer.Progress) { p.Drive = drive })
	if err := r.saveSurely(ctx); err != nil || drive == r.task.Spec.Target.Drive {
		return err // that one is claimed already
	}
	return r.claimTarget(ctx, drive)
}

// settle fixes what all attempts of the job keep, on the first; on later ones it makes sure that what the ledger calls
// done is really there.
func (r *run) settle(ctx context.Context, c *copier) error {
	plan := &r.task.Plan
	first := plan.ChunkSize == 0
	if first {
		plan.ChunkSize = r.task.Spec.ChunkSize
		plan.Source = c.src.Identity()
		if d, ok := c.src.(transfer.Digests); ok {
			plan.ChunkSize = d.ChunkSize()
		}
		if err := r.proveBlank(ctx, c); err != nil {
			return err
		}
	}
	if !c.sink.Traits().Rewritable {
		r.ledger.clear()
	} else if err := c.trustLedger(ctx); err != nil {
		return err
	}
	plan.Doubted = c.doubted && r.ledger.len() > 0
	c.chunkSize = plan.ChunkSize
	// A source that nothing tells from another one may hold zeros now where an earlier attempt wrote something, without
	// saving that it did.
	c.skipZeros = plan.Blank && (first || c.src.Identity() != "")
	r.setSize(c.size)
	if err := c.countDone(ctx); err != nil {
		return err
	}
	return r.saveSurely(ctx)
}

func (r *run) proveBlank(ctx context.Context, c *copier) error {
	b, ok := c.sink.(transfer.BlankChecker)
	if !ok || c.mode == compareOnly {
		return nil
	}
	return r.retry.call(ctx, r.sinkGate, func() (err error) {
		r.task.Plan.Blank, err = b.Blank(ctx)
		return r.young(err)
	})
}

// young turns "no such drive" into "busy" for a drive that the job made a moment ago: parts of an endpoint may not have
// heard of it yet.
func (r *run) young(err error) error {
	made := r.task.Plan.Created
	if transfer.CodeOf(err) != transfer.CodeNotFound || made.IsZero() || time.Since(made) > r.retry.policy.Young {
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
	if err := unchanged(ctx, c.src); err != nil {
		return err
	}
	if err := c.whileSaving(ctx, func() error { return c.prove(ctx) }); err != nil {
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
		if err := r.retry.call(ctx, r.sinkGate, func() error { return r.young(c.sink.Commit(ctx, m, func(context.Context) error { return nil })) }); err != nil {
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
	if !ok || !r.hopeless(cause) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := r.retry.call(ctx, r.sinkGate, func() error { return d.Discard(ctx) }); err != nil {
		return fmt.Errorf("remove what was made: %w", err)
	}
	if r.task.Plan.Created.IsZero() {
		return r.save(ctx)
	}
	return r.forget(ctx)
}

func (r *run) hopeless(cause error) bool {
	switch transfer.CodeOf(cause) {
	case transfer.CodeInvalid, transfer.CodeSourceChanged:
		return true
	case transfer.CodeMismatch:
		return r.task.Spec.SHA256 != ""
	}
	return false
}

// abandon removes what earlier attempts made if cause, which this one met before it opened that, says that none can
// complete it.
func (r *run) abandon(ctx context.Context, cause error) error {
	plan := &r.task.Plan
	if !r.hopeless(cause) || plan.ChunkSize == 0 || !r.action.Writes {
		return cause
	}
	sink, err := r.openSink(ctx, plan.Size)
	if err != nil {
		return errors.Join(cause, err)
	}
	return errors.Join(cause, r.discard(ctx, sink, cause), sink.Close())
}

// gone reports whether err says that the drive which the job made is not there any more.
func (r *run) gone(err error) bool {
	return transfer.CodeOf(err) == transfer.CodeNotFound && !r.task.Plan.Created.IsZero()
}

// forget has the job begin anew: what it made is gone.
func (r *run) forget(ctx context.Context) error {
	r.log.Info("what the job made is gone", zap.String("drive", r.task.Plan.Drive))
	r.task.Plan = transfer.Plan{ReadMark: r.task.Plan.ReadMark}
	r.task.Resume = false
	r.ledger.clear()
	r.count.update(func(p *transfer.Progress) { p.Drive = "" })
	return r.saveSurely(ctx)
}
