// Package worker is the transfer engine. It runs a job: it copies chunks from a source to a sink,
// retries calls, reads back what was written, and records the done chunks in a ledger.
//
// An attempt has four phases: provision makes or finds the target, copy carries the chunks, verify
// checks what the copy has not checked, and commit completes the target. Each phase gets its inputs
// as arguments and returns its results. One checkpointer owns the state that outlives the attempt:
// plan, progress and ledger.
//
// One goroutine carries a chunk from beginning to end in one buffer. Its calls to source and target
// pass a stack of decorators (calls.go), built once for each attempt, and end at the abilities of
// source and sink (ends.go), resolved once when they are opened.
//
// Memory is bounded by the chunks in flight: each has one buffer of the chunk size and, while it is
// sent, at most one more for its compressed form. The ledger adds about 60 bytes for each chunk.
package worker

import (
	"context"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/transferd/transferd/internal/chunker"
	"github.com/transferd/transferd/internal/flow"
	"github.com/transferd/transferd/internal/lease"
	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/transfer"
)

// Job is a job to run. Its ID is unique for all time, because the tags of drives contain it.
type Job struct {
	ID   string
	Spec transfer.Spec
}

// Session is what all calls of an attempt to its source and target share.
type Session struct {
	Job
	// Meter counts the bytes on the wire.
	Meter transfer.Meter
	// Limit limits the bytes of all bodies of the job on the wire; nil: no limit.
	Limit *rate.Limiter
	// Lease proves that the job is this worker's. Nothing is changed without it. nil: it always
	// holds.
	Lease *lease.Lease
	// Retry runs op and retries it like a call to the source. It is for a stream, which must retry
	// its own calls: after an error its reader, such as a decompressor, cannot continue.
	Retry func(ctx context.Context, op func(ctx context.Context) error) error
	// Snapshot is the UUID of the clone to read in place of the source drive; empty: none.
	Snapshot string
	// Part tells a drive of a migration from its others, in the tags of clones; empty: the job is no
	// migration.
	Part string
	// InOrder says that the source can no longer be read by offset (transfer.ErrInOrder). It is set
	// before the source is opened again.
	InOrder bool
}

// SnapshotTag is the tag of the clones that are requested with this session.
func (s *Session) SnapshotTag() string {
	if s.Part == "" {
		return transfer.SnapshotTag(s.ID)
	}
	return transfer.PartTag(s.ID, s.Part)
}

// SinkRequest describes the sink that a job writes or, if its action does not write, compares.
type SinkRequest struct {
	Drive  string // UUID; empty: the target is not a drive
	Made   bool   // the job made the drive
	Size   int64  // of the source, bytes; -1: unknown
	Resume bool   // earlier attempts stored chunks in the target
	// Compare says that the target is only compared, whatever the job's action is.
	Compare bool
}

// Opener opens the sources and sinks of jobs, and manages their target drives. It does not retry;
// the worker calls it again after a temporary error. It is safe for concurrent use.
type Opener interface {
	// Source opens what the job reads.
	Source(ctx context.Context, s *Session) (transfer.Source, error)
	// PublishedSum fetches the SHA-256 of the source from the list at Spec.SHA256URL.
	PublishedSum(ctx context.Context, s *Session) (transfer.PublishedSum, error)
	// Provision makes the job's new target drive. size is the source's in
	// bytes, -1 if unknown; CodeInvalid: the drive could not hold it. find says that an earlier
	// call may have made the drive: then it returns that one. If the job's action is
	// EndpointCopies, the drive is made as a copy of the source, and Ready reports when it is
	// complete.
	Provision(ctx context.Context, s *Session, size int64, find bool) (NewDrive, error)
	// Claim returns a claim for reading a drive on the named endpoint. It identifies the endpoint
	// by its URL and account, not by its name.
	Claim(endpoint, drive string) transfer.Claim
	// HeldBy returns the UUIDs of the running servers that hold a drive according to its endpoint.
	HeldBy(ctx context.Context, s *Session, drive transfer.Ref) ([]string, error)
	// Writers returns those of HeldBy that may write to the drive: none of a CD or a library drive.
	Writers(ctx context.Context, s *Session, drive transfer.Ref) ([]string, error)
	// TargetTags returns what the tags of the target drive say. Provision tags a new drive as
	// incomplete.
	TargetTags(ctx context.Context, s *Session, drive string) (transfer.TargetTags, error)
	// TagIncomplete tags a target drive that existed before the job as incomplete. It returns what
	// the tags say afterwards; on an endpoint without tags that is nothing.
	TagIncomplete(ctx context.Context, s *Session, drive string) (transfer.TargetTags, error)
	// TagComplete removes the tag of an incomplete drive from the target drive. It is idempotent,
	// and may be called for a drive without the tag.
	TagComplete(ctx context.Context, s *Session, drive string) error
	// Ready reports whether the endpoint's copy is complete.
	Ready(ctx context.Context, s *Session, drive string) (bool, error)
	Snapshotter
	ServerControl
	Migrator
	// Sink opens the target. If the target cannot hold the source, the error has CodeInvalid, or
	// CodeMismatch for a target that is only compared.
	Sink(ctx context.Context, s *Session, r SinkRequest) (transfer.Sink, error)
}

// NewDrive describes a drive that a job has made.
type NewDrive struct {
	UUID string
	// Servers are the UUIDs of those that held the source drive when the endpoint copied it.
	Servers []string
}

// Snapshotter manages the clones that jobs read in place of their source drives. Its methods are
// about the job's source drive, and do not retry.
type Snapshotter interface {
	// Snapshot has the endpoint clone the source drive. find says that an earlier call may have
	// been carried out: then it returns that clone. CodeConflict: the endpoint does not copy the
	// drive now.
	Snapshot(ctx context.Context, s *Session, find bool) (Snapshot, error)
	// SnapshotReady reports whether the clone is complete.
	SnapshotReady(ctx context.Context, s *Session, drive string) (bool, error)
	// DestroySnapshots destroys all clones that the job has requested. drive is the UUID of the one
	// that is known; empty: none. tagged says that it had a tag; if it has none now, a user has
	// taken it into use, and it stays. n is how many clones existed.
	DestroySnapshots(ctx context.Context, s *Session, drive string, tagged bool) (n int, err error)
}

// ServerControl shuts servers down and starts them. The servers are at the endpoint of the job's
// source. Its methods do not retry, and are idempotent.
type ServerControl interface {
	// ServerState describes a server.
	ServerState(ctx context.Context, s *Session, server string) (ServerState, error)
	// ShutDown asks a server's system to shut down, and does not wait.
	ShutDown(ctx context.Context, s *Session, server string) error
	// Stop stops a server at once.
	Stop(ctx context.Context, s *Session, server string) error
	// Start starts a server. CodeConflict: one of its drives is busy. CodeNoSpace: the account may
	// not, for now.
	Start(ctx context.Context, s *Session, server string) error
}

// Migrator reads and makes the servers of migrations. Its methods do not retry.
type Migrator interface {
	// PlanMigration reads source and target, and says what the migration would do, and what prevents
	// it. It changes nothing. The plan has the drives to clone.
	PlanMigration(ctx context.Context, s *Session) (*transfer.Migration, *transfer.MigrationPlan, error)
	// MigratedServer returns the UUID of the target's server that has a copy of one of the drives;
	// empty: there is none.
	MigratedServer(ctx context.Context, s *Session, p *transfer.MigrationPlan) (string, error)
	// StillMade reports whether all copies of the drives still exist at the target, and the new
	// server that the plan names.
	StillMade(ctx context.Context, s *Session, p *transfer.MigrationPlan) (copies, server bool, err error)
	// MakeServer makes the new server, stopped, with the copies of the drives. It is not idempotent.
	MakeServer(ctx context.Context, s *Session, p *transfer.MigrationPlan) (string, error)
	// CompareServers compares the new server with the old one.
	CompareServers(ctx context.Context, s *Session, p *transfer.MigrationPlan) (*transfer.Comparison, error)
	// StartMigrated starts the new server. It is idempotent.
	StartMigrated(ctx context.Context, s *Session, server string) error
	// DestroyCopies destroys the drives at the target that these jobs made, and no server has, and
	// returns their UUIDs. It is idempotent.
	DestroyCopies(ctx context.Context, s *Session, jobs []string) (destroyed []string, err error)
}

// ServerState describes a server.
type ServerState struct {
	Running bool
	Config  string // digest of the configuration, which running and counters do not change
	// NotAgain says why the server would not be the same after a stop and a start; empty: it would.
	NotAgain string
	// NewAddress says that it may have another address after a stop and a start.
	NewAddress bool
}

// Snapshot describes a clone of a job's source drive.
type Snapshot struct {
	Drive   string   // UUID
	Tagged  bool     // it has a tag that names the job
	Servers []string // UUIDs of those that held the source drive when it was cloned
}

// Config configures a Worker.
type Config struct {
	Opener Opener
	Policy flow.Policy
	Log    *zap.Logger
	// Observe, if not nil, is called with the progress about once a second and at the end of each
	// attempt. Calls for one attempt do not overlap.
	Observe func(transfer.Progress)
	// UndoFor is how long an attempt tries to undo what the job owes after it has ended; 0: until
	// its deadline, at least ten minutes, and a day for a job without one.
	UndoFor time.Duration
}

// Worker runs jobs. It is safe for concurrent use.
type Worker struct {
	cfg     Config
	buffers chunker.Buffers
}

// New returns a worker.
func New(cfg Config) *Worker { return &Worker{cfg: cfg} }

// newLimit returns a limiter whose burst is a tenth of a second; nil: no limit.
func newLimit(bytesPerSecond int64) *rate.Limiter {
	const least, most = 4 << 10, 1 << 20
	if bytesPerSecond <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(bytesPerSecond), int(min(max(bytesPerSecond/10, least), most)))
}

// Run runs one attempt of a job. When drain closes, it begins no further chunk, finishes those in
// flight, saves and returns an error with CodeDrained. When ctx ends, it stops at once, saves, and
// returns ctx's cause. A panic in the attempt is returned as an error with CodeInternal.
//
// Run does not return the outcome of the job before it has undone what the job owes, also after ctx
// has ended. If drain closes meanwhile, it returns an error with CodeDrained instead.
func (w *Worker) Run(ctx context.Context, drain <-chan struct{}, job Job, store transfer.Store) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	a := newAttempt(w, drain, job, store)
	err := panics.Catch(func() error {
		a.stop = stop
		if _, bounded := ctx.Deadline(); bounded || job.Spec.Deadline > 0 {
			a.retrier.policy.RequestedWait = 0
		}
		if err := a.load(ctx); err != nil {
			return err
		}
		return a.state.runWithSaves(ctx, stop, func() error { return a.run(ctx) })
	})
	if cause := context.Cause(ctx); cause != nil && err != nil {
		err = cause
	}
	return a.undo(ctx, w.cfg.UndoFor, err)
}
