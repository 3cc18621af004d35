package transfer

import (
	"strings"
	"time"
)

// State is the state of a job: queued → running → succeeded, failed or canceled. A job becomes
// queued again when its worker stops, or when a user retries it.
type State string

// The states of a job.
const (
	Queued    State = "queued"
	Running   State = "running"
	Succeeded State = "succeeded"
	Failed    State = "failed"
	Canceled  State = "canceled"
)

// Terminal reports whether a job in this state has ended.
func (s State) Terminal() bool { return s == Succeeded || s == Failed || s == Canceled }

// ParseStates parses names of states. Each text may hold several, separated by commas. Its errors
// have CodeInvalid.
func ParseStates(texts []string) (states []State, err error) {
	for _, text := range texts {
		for _, name := range strings.Split(text, ",") {
			switch s := State(name); s {
			case Queued, Running, Succeeded, Failed, Canceled:
				states = append(states, s)
			default:
				return nil, invalid("use queued, running, succeeded, failed or canceled",
					"state: %q is not a state", name)
			}
		}
	}
	return states, nil
}

// Job is a job as users see it; its JSON is the contract of `jobs show -o json`.
type Job struct {
	ID       string     `json:"id"`
	Kind     Kind       `json:"kind"`
	State    State      `json:"state"`
	Source   string     `json:"source"`
	Target   string     `json:"target"`
	Name     string     `json:"name,omitempty"` // of the new drive or server
	Endpoint string     `json:"endpoint"`       // the target's, else the source's
	Queue    string     `json:"queue"`
	Verify   VerifyMode `json:"verify"`
	Priority Priority   `json:"priority"`
	// Labels are those of the job's spec.
	Labels map[string]string `json:"labels,omitempty"`
	Batch  string            `json:"batch,omitempty"` // ID of the batch, or job, that this one is a part of
	Progress
	Attempts   int        `json:"attempts"`         // how many attempts have begun
	Worker     string     `json:"worker,omitempty"` // that runs it, or ran it last
	AsOf       time.Time  `json:"-"`                // when these values were read, by the clock of its other times
	CreatedAt  time.Time  `json:"created_at"`
	Deadline   *time.Time `json:"deadline,omitempty"`   // when it fails unless it has ended
	StartedAt  *time.Time `json:"started_at,omitempty"` // of the first attempt
	FinishedAt *time.Time `json:"finished_at,omitempty"`
	Seconds    float64    `json:"seconds"` // from StartedAt to FinishedAt, or to now
	Error      *Failure   `json:"error,omitempty"`
	// DriveLeft says that the job has not succeeded and leaves an incomplete drive that it made.
	DriveLeft bool `json:"drive_left,omitempty"`
	// Stopping says that a running job has been canceled and its worker has not stopped yet.
	Stopping bool `json:"stopping,omitempty"`
}

// Progress is what a job has done so far, in all attempts together.
type Progress struct {
	Drive    string    `json:"drive,omitempty"` // the target, or the source of a download; empty until known
	Size     int64     `json:"size"`            // of the image, bytes; 0 until known
	Chunks   Chunks    `json:"chunks"`
	Bytes    Bytes     `json:"bytes"`
	Encoding Encoding  `json:"encoding"`
	Retries  Retries   `json:"retries"`
	Digest   JobDigest `json:"digest"`
	Tail     Tail      `json:"tail,omitzero"`    // of a target that existed before the job
	InUse    *InUse    `json:"in_use,omitempty"` // the source drive was in use; nil: not as far as known
	// Changed is where the source drive changed while it was compared with a copy of it; nil: nowhere.
	Changed *Changed `json:"changed_while_read,omitempty"`
	// Migration is the server that moves; nil: the job moves none.
	Migration *Migration `json:"migration,omitempty"`
	Verified  bool       `json:"verified"` // all stored bytes have been read back and compared
	// Warnings is what users should know although the job succeeded, one sentence each.
	Warnings []string `json:"warnings,omitempty"`
	// ReadVia is how a file or device on the worker's host was read back; empty for other targets.
	ReadVia ReadVia `json:"read_via,omitempty"`
	// Step is what a job does besides moving bytes; empty: nothing.
	Step Step `json:"step,omitempty"`
	// Waiting is the long wait that the job is in now; nil: none.
	Waiting *Waiting `json:"waiting,omitempty"`
	// Waited is the sum of the waits that endpoints have asked for (Retry-After).
	Waited Seconds `json:"waited,omitempty"`
	// Rate is in bytes a second. For a running job it is Bytes.Done over the last seconds, 0 while
	// no byte moves; for a job that has ended it is Bytes.Read over the job's whole time.
	Rate float64 `json:"rate"`
}

// Step is something that a job does besides moving bytes.
type Step string

// The steps.
const (
	StepShuttingDown Step = "shutting_down_servers"
	StepStarting     Step = "starting_servers"   // that the job has shut down
	StepNotStarted   Step = "server_not_started" // the endpoint refuses to start one; it is tried again
	StepCloning      Step = "cloning"            // the endpoint clones the source drive
	StepDestroying   Step = "destroying_clone"   // that clone is destroyed
	StepCopying      Step = "copying_drives"     // other jobs copy the drives of a server that moves
	StepMaking       Step = "making_server"      // the new server is made, and compared with the old one
)

// Waiting describes a call that has failed and is retried, once the wait is longer than ten seconds
// or the call has failed for as long.
type Waiting struct {
	Code    Code      `json:"code,omitempty"`    // of what came back
	Cause   string    `json:"cause"`             // what was tried, and what came back
	Since   time.Time `json:"since"`             // of the first failure
	Until   time.Time `json:"until,omitzero"`    // when the call is retried
	GivesUp time.Time `json:"gives_up,omitzero"` // when the retries end; zero: never
}

// Word describes the state of the other side in one word, such as busy or silent.
func (w *Waiting) Word() string {
	if word, ok := waitingWords[w.Code]; ok {
		return word
	}
	return "waiting"
}

var waitingWords = map[Code]string{
	CodeConflict: "busy", CodeTimeout: "silent", CodeThrottled: "throttled", CodeServer: "failing",
	CodeNetwork: "cut off", CodeUnreachable: "unreachable",
}

// Chunks counts chunks.
type Chunks struct {
	Total    int64 `json:"total"`    // of the image, holes included, and of a tail to be cleared; 0 until known
	Done     int64 `json:"done"`     // Zero, the written chunks, and those of a cleared tail
	Zero     int64 `json:"zero"`     // holes and zeros of the image that were not written
	Sent     int64 `json:"sent"`     // written
	Verified int64 `json:"verified"` // read back and found equal
}

// Bytes counts bytes.
type Bytes struct {
	Total   int64 `json:"total"`    // to copy, compare or read again, without holes; 0 until known
	Done    int64 `json:"done"`     // of Total
	Read    int64 `json:"read"`     // of the source, without holes
	WireOut int64 `json:"wire_out"` // bodies sent to endpoints, retries included
	WireIn  int64 `json:"wire_in"`  // bodies received from endpoints, retries included
}

// Tail describes the bytes behind the image on a larger target that existed before the job.
type Tail struct {
	Bytes   int64    `json:"bytes"`           // from the end of the image to that of the target
	Kept    bool     `json:"kept"`            // left as it was; otherwise it is zeros when the job has succeeded
	Cleared int64    `json:"cleared"`         // bytes of chunks that were not zeros and were set to zero
	Found   []string `json:"found,omitempty"` // partition tables and file systems that the target held
}

// IsZero reports whether there is no tail to report; encoding/json calls it for omitzero.
func (t Tail) IsZero() bool { return t.Bytes == 0 && !t.Kept && t.Cleared == 0 && len(t.Found) == 0 }

// Changed counts the chunks of a source drive that differ from a copy that the endpoint made of it,
// because the drive has changed since, or may have.
type Changed struct {
	Chunks int64 `json:"chunks"`
	Bytes  int64 `json:"bytes"`
}

// Encoding counts the writes to endpoints, by their encoding. A chunk may take several writes.
type Encoding struct {
	Raw  int64 `json:"raw"`
	Gzip int64 `json:"gzip"`
}

// Retries counts retried calls and repeated reads, by cause.
type Retries struct {
	Conflict int64 `json:"conflict"` // 409
	Timeout  int64 `json:"timeout"`  // 504, and calls without progress
	Server   int64 `json:"server"`   // other 5xx, and 429
	Network  int64 `json:"network"`  // connections refused or cut, short responses
	Mismatch int64 `json:"mismatch"` // reads that differed from the expected bytes
}

// Sum returns the retries of all causes.
func (r Retries) Sum() int64 { return r.Conflict + r.Timeout + r.Server + r.Network + r.Mismatch }

// JobDigest has the digests of the image that was copied or compared.
type JobDigest struct {
	Algorithm string `json:"algorithm,omitempty"`    // of chunks; always "blake3"
	Image     string `json:"image_sha256,omitempty"` // SHA-256 as sha256sum prints it; only if requested
	// Expected is what has the SHA-256 that the job expects: "image", or "file" for the file as it
	// was published, with its compression or format. Empty: the job expects none.
	Expected   string `json:"expected_sha256_of,omitempty"`
	ChunksRoot string `json:"chunks_root,omitempty"` // BLAKE3 over the chunks' digests in order
}

// NewJob returns the queued job for spec.
func NewJob(id string, spec *Spec, now time.Time) Job {
	j := Job{
		ID: id, Kind: spec.Kind, State: Queued, Name: spec.Name,
		Source: spec.Source.Redacted(), Target: spec.Target.Redacted(),
		Queue: spec.Queue, Priority: spec.Priority, Verify: spec.Verify, Labels: spec.Labels, Batch: spec.Batch,
		CreatedAt: now.UTC().Truncate(time.Millisecond),
	}
	j.Endpoint = spec.Target.Endpoint
	if j.Endpoint == "" {
		j.Endpoint = spec.Source.Endpoint
	}
	j.Drive = spec.Target.Drive
	if !spec.Target.IsDrive() {
		j.Drive = spec.Source.Drive
	}
	return j
}

// SetTimes sets AsOf and Seconds from the other fields, with now as the end of a job that has not
// ended. It also sets Rate, unless the job is running.
func (j *Job) SetTimes(now time.Time) {
	j.AsOf = now
	if j.State != Running {
		j.Rate = 0
	}
	if j.StartedAt == nil {
		return
	}
	end := now
	if j.FinishedAt != nil {
		end = *j.FinishedAt
	}
	if j.Seconds = end.Sub(*j.StartedAt).Seconds(); j.Seconds > 0 && j.FinishedAt != nil {
		j.Rate = float64(j.Bytes.Read) / j.Seconds
	}
}
