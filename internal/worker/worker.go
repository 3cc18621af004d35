// Package worker is the engine: it runs a job by copying chunks from a source to a sink, tries again
// what may be tried again, reads back what was written, and keeps in a ledger what is done.
//
// An attempt goes through four phases: provision makes or finds the target, copy carries the chunks,
// verify proves what the copy does not prove by itself, and commit completes the target. Each has its
// inputs as arguments and its results as return values; what outlives the attempt (plan, progress,
// ledger) is owned by one checkpointer.
//
// A chunk is carried from beginning to end by one goroutine in one buffer. Its calls to the two ends
// pass a stack of decorators (calls.go), built once for each job, and end at the abilities of the ends
// (ends.go), resolved once when they are opened.
//
// Memory is bounded by the chunks in flight: each has one buffer of the chunk's size, and while it is
// sent at most one more for its compressed form. The ledger adds about 60 bytes a chunk.
package worker

import (
	"context"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/transferd/transferd/internal/chunker"
	"github.com/transferd/transferd/internal/flow"
	"github.com/transferd/transferd/internal/lease"
	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/transfer"
)

// Job is a job to be run. Its ID is no other job's, at any time: drives that it makes carry it.
type Job struct {
	ID   string
	Spec transfer.Spec
}

// Session is what all calls of a job to its ends have in common.
type Session struct {
	Job
	// Meter counts what goes over the wire.
	Meter transfer.Meter
	// Limit is what all bodies of the job together take on the wire, bytes a second; nil: no limit.
	Limit *rate.Limiter
	// Lease is the proof that the job is this worker's, without which nothing is changed; nil: it
	// always holds.
	Lease *lease.Lease
	// Retry makes a call to the source again, for a source that cannot leave that to the engine:
	// after a failure in the middle of a stream, what reads it above could not go on.
	Retry func(ctx context.Context, op func(ctx context.Context) error) error
	// InOrder says that the source cannot be read by offset any more (transfer.ErrInOrder). It is
	// set before the source is opened again.
	InOrder bool
}

// SinkRequest says which sink a job writes or, if its action does not write, compares.
type SinkRequest struct {
	Drive  string // of the target, if that is one
	Made   bool   // the job made the drive
	Size   int64  // of the source, bytes; -1: unknown
	Resume bool   // earlier attempts stored chunks in the target
	// Compare says that the target is only compared, whatever the job's action.
	Compare bool
}

// Opener makes the ends of jobs. It tries nothing twice; the worker calls it again after an error that
// may pass. It is safe for concurrent use.
type Opener interface {
	// Source opens what the job reads.
	Source(ctx context.Context, s *Session) (transfer.Source, error)
	// Provision makes the job's new target drive and returns its UUID. size is the source's in bytes, -1
	// if unknown; a drive that could not hold it is refused with CodeInvalid. With find, an earlier call
	// may have made the drive without an answer: then that one is returned. Where the job's action says
	// that the endpoint copies, the drive is made as a copy, and Ready says when it is complete.
	Provision(ctx context.Context, s *Session, size int64, find bool) (drive string, err error)
	// Claim is a claim of a drive on the endpoint of that name, for reading: by where the endpoint
	// is, not by what it is called.
	Claim(endpoint, drive string) transfer.Claim
	// UsedBy is who else uses a drive by what its endpoint says, such as a server that has claimed
	// it.
	UsedBy(ctx context.Context, s *Session, drive transfer.Ref) ([]string, error)
	// Mark is what the tags of the target drive say: Provision marks a new one as not complete.
	Mark(ctx context.Context, s *Session, drive string) (transfer.DriveMark, error)
	// MarkOpen marks a target drive that was there before the job as one that is not complete. It
	// returns the drive's mark after that, which an endpoint that keeps no tags does not have.
	MarkOpen(ctx context.Context, s *Session, drive string) (transfer.DriveMark, error)
	// Complete notes on the target drive that it holds all that it is to hold. It may be called
	// again, and for a drive that is not marked.
	Complete(ctx context.Context, s *Session, drive string) error
	// Ready reports whether the endpoint has finished making a drive.
	Ready(ctx context.Context, s *Session, drive string) (bool, error)
	// Sink opens the target. One that cannot hold the source is refused with CodeInvalid, or with
	// CodeMismatch if it was to be compared.
	Sink(ctx context.Context, s *Session, r SinkRequest) (transfer.Sink, error)
}

// Config is what a Worker needs.
type Config struct {
	Opener Opener
	Policy flow.Policy
	Log    *zap.Logger
	// Observe, if set, is given the progress about once a second and at the end of each attempt.
	Observe func(transfer.Progress)
}

// Worker runs jobs. It is safe for concurrent use.
type Worker struct {
	cfg     Config
	buffers chunker.Buffers
}

// New makes a worker.
func New(cfg Config) *Worker { return &Worker{cfg: cfg} }

// newLimit lets pieces of a tenth of a second through at once.
func newLimit(bytesPerSecond int64) *rate.Limiter {
	const least, most = 4 << 10, 1 << 20
	if bytesPerSecond <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(bytesPerSecond), int(min(max(bytesPerSecond/10, least), most)))
}

// Run carries out one attempt at a job and returns when it has ended. When drain closes, it begins
// no further chunk, finishes those in flight, saves and returns CodeDrained; when ctx ends, it
// stops at once, saves, and returns ctx's cause. A panic anywhere in the attempt is an error with
// CodeInternal.
func (w *Worker) Run(ctx context.Context, drain <-chan struct{}, job Job, store transfer.Store) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	err := panics.Catch(func() error {
		a := newAttempt(w, drain, job, store)
		a.stop = stop
		if _, bounded := ctx.Deadline(); bounded || job.Spec.Deadline > 0 {
			a.waits.policy.Asked = 0
		}
		if err := a.load(ctx); err != nil {
			return err
		}
		return a.state.whileSaving(ctx, stop, func() error { return a.run(ctx) })
	})
	if cause := context.Cause(ctx); cause != nil && err != nil {
		err = cause
	}
	return err
}
