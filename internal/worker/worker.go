// Package worker is the engine: it runs a job by copying chunks from a source to a sink, retrying what may be retried,
// reading back what was written, and remembering in a ledger what is done.
//
// Memory is bounded by the chunks in flight: each has one buffer of the chunk's size, and while it is being sent at most
// one more for its compressed form. The ledger adds about 60 bytes a chunk.
package worker

import (
	"context"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/transferd/transferd/internal/chunker"
	"github.com/transferd/transferd/internal/transfer"
)

// Task is a job as its ends are opened.
type Task struct {
	ID   string
	Spec transfer.Spec
	// Plan is what the job has settled so far. Sink and CloneDrive set Drive and Created when they make a drive.
	Plan transfer.Plan
	// Again says that an earlier try may have made a drive that Plan does not know of: it was cut off in between.
	Again bool
	// Limit is what all bodies of the job together take on the wire, bytes a second; nil: as much as they can.
	Limit *rate.Limiter
	// Resume says that earlier attempts stored chunks in the target.
	Resume bool
	// Capacity is how many bytes the target holds, set by Sink; 0: no limit.
	Capacity int64
	// Meter counts what goes over the wire.
	Meter transfer.Meter
}

// Opener makes the ends of a job. It tries nothing twice; the worker calls it again after an error that may pass.
type Opener interface {
	// Source opens what the job reads: an image or a drive; for a verify job the image or manifest to compare with.
	Source(ctx context.Context, t *Task) (transfer.Source, error)
	// Sink opens what the job writes, or with a verify job only reads back. size is the source's, -1 if unknown; a
	// target that cannot hold it is refused with CodeInvalid before anything is created.
	Sink(ctx context.Context, t *Task, size int64) (transfer.Sink, error)
	// CloneDrive has the endpoint copy a drive by itself.
	CloneDrive(ctx context.Context, t *Task) error
	// DriveReady reports whether the endpoint has finished making Plan.Drive.
	DriveReady(ctx context.Context, t *Task) (bool, error)
}

// Config is what a Worker needs.
type Config struct {
	Opener Opener
	Policy Policy
	Log    *zap.Logger
	// Observe, if set, is given the progress about once a second and at the end of each attempt.
	Observe func(transfer.Progress)
}

// Worker runs jobs. It is safe for concurrent use.
type Worker struct {
	cfg     Config
	buffers *chunker.Buffers
}

// New makes a worker.
func New(cfg Config) *Worker {
	return &Worker{cfg: cfg, buffers: chunker.NewBuffers(transfer.DefaultChunkSize)}
}

// Job is a job to be run. Its ID is no other job's, at any time: drives that it makes carry it.
type Job struct {
	ID   string
	Spec transfer.Spec
}

// newLimit lets pieces of a tenth of a second through at once.
func newLimit(bytesPerSecond int64) *rate.Limiter {
	const least, most = 4 << 10, 1 << 20
	if bytesPerSecond <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(bytesPerSecond), int(min(max(bytesPerSecond/10, least), most)))
}

// Run carries an attempt out and returns when it has ended. When drain closes it takes up no further chunk, finishes
// those in flight, saves and returns CodeDrained; when ctx ends it stops at once, saves, and returns ctx's cause.
func (w *Worker) Run(ctx context.Context, drain <-chan struct{}, job Job, store transfer.Store) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	log := w.cfg.Log.With(zap.String("job", job.ID))
	count := new(counters)
	r := &run{
		worker: w, action: job.Spec.Action(), store: store, count: count, drain: drain, log: log, stop: cancel,
		retry: &retrier{policy: w.cfg.Policy, count: count, log: log, drain: drain},
		task:  Task{ID: job.ID, Spec: job.Spec, Meter: count, Limit: newLimit(job.Spec.LimitRate)},
	}
	r.sourceGate, r.sinkGate = &gate{retry: r.retry}, &gate{retry: r.retry}
	err := r.run(ctx)
	if cause := context.Cause(ctx); cause != nil && err != nil {
		err = cause
	}
	return err
}
