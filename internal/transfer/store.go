package transfer

import (
	"context"
	"slices"
	"strings"
	"time"
)

// Meter counts the bytes of one job as they pass. All methods are safe for concurrent use, and on a
// nil Meter.
type Meter interface {
	AddWireOut(n int64)
	AddWireIn(n int64)
	// AddChunk counts a write that an endpoint accepted, by its encoding.
	AddChunk(gzip bool)
}

// Store keeps the state of a running job beyond its process, and returns orders from outside, such
// as a cancellation, as errors of Save.
type Store interface {
	// Load returns all that earlier attempts saved.
	Load(ctx context.Context) (Checkpoint, error)
	// Save adds c to the stored state, durably. An error with CodeCanceled, CodeFenced or
	// CodeNotFound ends the attempt; after any other error the caller saves the same checkpoint
	// again later.
	Save(ctx context.Context, c *Checkpoint) error
}

// Claimer is a Store that arbitrates between jobs: many may read a drive at once, or one may write
// it.
type Claimer interface {
	// Claim reserves the drive for this job for as long as the attempt runs. It is idempotent. It
	// returns the mark of the last claim for writing before this one; "" if none is known.
	// CodeConflict: another job has the drive.
	Claim(ctx context.Context, c Claim) (last string, err error)
}

// Batcher is a Store of a job that has other jobs do parts of its work.
type Batcher interface {
	// NewID returns the ID of a new job. It makes no call.
	NewID() string
	// EnqueuePart records a job and makes its trigger. It is idempotent: the job may exist already.
	EnqueuePart(ctx context.Context, id string, spec Spec) error
	// Parts returns the jobs with these IDs, without those that do not exist.
	Parts(ctx context.Context, ids []string) ([]Job, error)
	// CancelPart cancels a job. It does nothing if the job has ended or does not exist.
	CancelPart(ctx context.Context, id string) error
	// Estimate returns how long the job, which is a migration, takes according to earlier jobs.
	Estimate(ctx context.Context, m *Migration) (Estimate, error)
}

// Clock is a Store with its own clock. Attempts on different hosts, whose clocks may differ,
// compare times by it.
type Clock interface {
	// Now is the time by the store's clock. It makes no call, and is cheap.
	Now() time.Time
}

// Claim is what a job does with a drive.
type Claim struct {
	// Endpoint identifies the endpoint, whatever configs call it. It holds no colon.
	Endpoint string
	// Names is what this host's config calls the endpoint. Earlier versions claimed drives by name.
	Names []string
	Drive string
	// Mark is a new random value for each attempt that writes the drive. Later writers and readers
	// see by it whether another job has written. Empty: the drive is only read, and others may read
	// it too.
	Mark string
}

// Writes reports whether the drive is claimed for writing: no other job may read or write it.
func (c Claim) Writes() bool { return c.Mark != "" }

// Keys returns the keys of the claim: one for the endpoint itself, then one for each of its names.
// A drive is claimed under all of them, because jobs of earlier versions, which know only a name,
// may still run or be queued.
func (c Claim) Keys() []string {
	keys := []string{c.Endpoint + ":" + c.Drive}
	for _, name := range c.Names {
		keys = append(keys, name+":"+c.Drive)
	}
	return keys
}

// JoinMarks combines the marks that a drive has under several keys. Empty marks are unknown and do
// not count. If the others are equal, the result is that mark; if not, it is a value that equals no
// mark.
func JoinMarks(marks ...string) string {
	var known []string
	for _, mark := range marks {
		if mark != "" && !slices.Contains(known, mark) {
			known = append(known, mark)
		}
	}
	return strings.Join(known, " ")
}

// Checkpoint is the state of a copy between attempts.
type Checkpoint struct {
	Plan     Plan
	Progress Progress // counts so far
	Reset    bool     // Save only: drop the entries that were saved before these
	// Interim says, to Save only, that another save follows within a second. Observers may miss
	// this one, and it must survive a crash of the process, not of the host.
	Interim bool
	// Ending says, to Save only, that the job has ended and only undoes what it owes. A cancellation
	// does not end that.
	Ending  bool
	Entries []Entry // Load: all chunks done; Save: those done since the last Save
}

// Plan is what all attempts of a job keep.
type Plan struct {
	DriveRequested bool      `json:"asked,omitempty"`      // a drive was requested, and may exist
	Drive          string    `json:"drive,omitempty"`      // the target drive
	Created        time.Time `json:"created,omitzero"`     // when the job made it (store's clock); zero: it did not
	Tagged         bool      `json:"tagged,omitempty"`     // the drive had the tag of one that is not complete
	Finished       bool      `json:"finished,omitempty"`   // it was completed, or is in use: do not write it
	Blank          bool      `json:"blank,omitempty"`      // zeros need not be written
	Source         string    `json:"source,omitempty"`     // the source's identity
	InOrder        bool      `json:"in_order,omitempty"`   // the source cannot be read by offset any more
	Recheck        bool      `json:"recheck,omitempty"`    // the source may have changed: read it again
	Size           int64     `json:"size,omitempty"`       // of the image, bytes; 0: not known yet
	ChunkSize      int       `json:"chunk_size,omitempty"` // bytes; 0: no attempt has opened the target yet
	ReadMark       string    `json:"read_mark,omitempty"`  // of the source drive's last writer before the job
	WriteMark      string    `json:"write_mark,omitempty"` // of the job's last claim of the target drive
	Doubted        bool      `json:"doubted,omitempty"`    // another job may have written the target
	Snapshot       Snapshot  `json:"snapshot,omitzero"`    // the clone that is read in place of the source
	// Stopped is the servers that the job has to start again. An update replaces it as a whole.
	Stopped []StoppedServer `json:"stopped,omitempty"`
	Done    bool            `json:"done,omitempty"` // the target is complete; the rest is to undo what is owed
	// Migration is the plan of a job that moves a server; nil: it has none yet. An update replaces it
	// as a whole.
	Migration *MigrationPlan `json:"migration,omitempty"`
}

// Snapshot is a clone of the source drive that a job reads in the drive's place, and then destroys.
// It is in the plan before it is requested.
type Snapshot struct {
	Requested time.Time `json:"requested,omitzero"` // last, by the store's clock; zero: it is not
	Drive     string    `json:"drive,omitempty"`    // UUID; empty: not known
	Tagged    bool      `json:"tagged,omitempty"`   // it had the tag of the job's snapshot
	// Left says that it stays, because the endpoint does not let the job destroy it.
	Left bool `json:"left,omitempty"`
}

// Owes reports whether the job has to undo something before it ends.
func (p *Plan) Owes() bool {
	stopped := slices.ContainsFunc(p.Stopped, func(s StoppedServer) bool { return s.Left == "" })
	return stopped || p.OwesSnapshot() || p.Migration != nil && p.Migration.OwesCopies()
}

// OwesSnapshot reports whether the job has to destroy a clone.
func (p *Plan) OwesSnapshot() bool {
	if p.Migration != nil {
		return slices.ContainsFunc(p.Migration.Drives, func(d MigratingDrive) bool { return d.Snapshot.Owed() })
	}
	return p.Snapshot.Owed()
}

// Owed reports whether the clone has to be destroyed.
func (s *Snapshot) Owed() bool { return !s.Requested.IsZero() && !s.Left }
