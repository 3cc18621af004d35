package transfer

import (
	"strings"
	"time"
)

// State is where a job is in its life: queued → running → succeeded, failed or canceled; and back to queued when its
// worker stops, or a user retries it.
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

// ParseStates reads names of states, in texts that may hold several with commas between them. Its
// errors have CodeInvalid.
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
	Name     string     `json:"name,omitempty"` // of the new drive
	Endpoint string     `json:"endpoint"`       // the target's, else the source's
	Queue    string     `json:"queue"`
	Verify   VerifyMode `json:"verify"`
	Priority Priority   `json:"priority"`
	Progress
	Attempts   int        `json:"attempts"`         // how often a worker took it up
	Worker     string     `json:"worker,omitempty"` // the one that has it, or had it last
	AsOf       time.Time  `json:"-"`                // when the job was so, by the clock of its other times
	CreatedAt  time.Time  `json:"created_at"`
	Deadline   *time.Time `json:"deadline,omitempty"`   // when it fails if it has not ended
	StartedAt  *time.Time `json:"started_at,omitempty"` // of the first attempt
	FinishedAt *time.Time `json:"finished_at,omitempty"`
	Seconds    float64    `json:"seconds"` // from StartedAt to FinishedAt, or to now
	Error      *Failure   `json:"error,omitempty"`
	// DriveLeft says that the job ended without success and that the drive which it made stays,
	// incomplete.
	DriveLeft bool `json:"drive_left,omitempty"`
	// Stopping says that a running job has been canceled, and that its worker has not stopped yet.
	Stopping bool `json:"stopping,omitempty"`
}

// Progress is what a job has done so far. Its counts go over all attempts.
type Progress struct {
	Drive    string    `json:"drive,omitempty"` // the drive worked on, as soon as it is known
	Size     int64     `json:"size"`            // of the image, bytes; 0 until known
	Chunks   Chunks    `json:"chunks"`
	Bytes    Bytes     `json:"bytes"`
	Encoding Encoding  `json:"encoding"`
	Retries  Retries   `json:"retries"`
	Digest   JobDigest `json:"digest"`
	Tail     Tail      `json:"tail,omitzero"` // of a target that was there before
	Verified bool      `json:"verified"`      // all that was written has been read back and compared
	// Warnings is what users should know of a job that succeeded, a sentence each.
	Warnings []string `json:"warnings,omitempty"`
	// ReadVia is how a file or device on the worker's host was read back; empty for other targets.
	ReadVia ReadVia `json:"read_via,omitempty"`
	// Waiting is what the job waits for now; nil: nothing that takes long.
	Waiting *Waiting `json:"waiting,omitempty"`
	// Waited is how long endpoints have asked the job to wait (Retry-After), in all.
	Waited Seconds `json:"waited,omitempty"`
	// Rate is in bytes a second: of a running job Bytes.Done over the last seconds, 0 when nothing
	// moves; of one that has ended Bytes.Read over all of its time.
	Rate float64 `json:"rate"`
}

// Waiting is what keeps a job from going on: a call that has failed and is made again, where the
// wait is longer than ten seconds or the call has failed for as long.
type Waiting struct {
	Code    Code      `json:"code,omitempty"`    // of what came back
	Cause   string    `json:"cause"`             // what was tried, and what came back
	Since   time.Time `json:"since"`             // of the first failure
	Until   time.Time `json:"until,omitzero"`    // when the call is made again
	GivesUp time.Time `json:"gives_up,omitzero"` // when the call is given up if this goes on; zero: never
}

// Word is what the other side is, for people: busy, silent …
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
	Total    int64 `json:"total"`    // of the whole image, holes included, and of a tail to be cleared; 0 until known
	Done     int64 `json:"done"`     // those that need nothing more: Zero, the written ones, and zeros of a tail
	Zero     int64 `json:"zero"`     // holes and zeros of the image that needed no write
	Sent     int64 `json:"sent"`     // written
	Verified int64 `json:"verified"` // read back and found equal
}

// Bytes counts bytes.
type Bytes struct {
	Total   int64 `json:"total"`    // to be carried, compared or read again, holes left out; 0 until known
	Done    int64 `json:"done"`     // of Total
	Read    int64 `json:"read"`     // of the source, holes left out
	WireOut int64 `json:"wire_out"` // bodies sent to endpoints, retries included
	WireIn  int64 `json:"wire_in"`  // bodies received from endpoints, retries included
}

// Tail is what a target that was there before, and is larger than the image, holds behind it.
type Tail struct {
	Bytes   int64    `json:"bytes"`           // from the end of the image to that of the target
	Kept    bool     `json:"kept"`            // left as it was; else it is zeros when the job has succeeded
	Cleared int64    `json:"cleared"`         // bytes of chunks that were not zeros, and have become so
	Found   []string `json:"found,omitempty"` // partition tables and file systems that the target held
}

// IsZero reports whether there is nothing to say of a tail.
func (t Tail) IsZero() bool { return t.Bytes == 0 && !t.Kept && t.Cleared == 0 && len(t.Found) == 0 }

// Encoding counts what was written to endpoints, by how it was encoded. A chunk may be several
// writes.
type Encoding struct {
	Raw  int64 `json:"raw"`
	Gzip int64 `json:"gzip"`
}

// Retries counts what was tried again, by cause.
type Retries struct {
	Conflict int64 `json:"conflict"` // 409
	Timeout  int64 `json:"timeout"`  // 504, and transfers that stood still
	Server   int64 `json:"server"`   // other 5xx, and 429
	Network  int64 `json:"network"`  // connections refused or cut, short answers
	Mismatch int64 `json:"mismatch"` // read-backs that differed
}

// Sum is how much was tried again, whatever the cause.
func (r Retries) Sum() int64 { return r.Conflict + r.Timeout + r.Server + r.Network + r.Mismatch }

// JobDigest is the proof of what was moved.
type JobDigest struct {
	Algorithm  string `json:"algorithm,omitempty"`    // of chunks; always "blake3"
	Image      string `json:"image_sha256,omitempty"` // SHA-256 of the image as sha256sum prints it; only if asked for
	ChunksRoot string `json:"chunks_root,omitempty"`  // BLAKE3 over the chunks' digests in order
}

// NewJob is the queued job that spec asks for.
func NewJob(id string, spec *Spec, now time.Time) Job {
	j := Job{
		ID: id, Kind: spec.Kind, State: Queued, Name: spec.Name,
		Source: spec.Source.Redacted(), Target: spec.Target.Redacted(),
		Queue: spec.Queue, Priority: spec.Priority, Verify: spec.Verify,
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

// Time fills AsOf, Seconds, and Rate unless the job is running, from the other fields, with now as
// the end of a job that has not finished.
func (j *Job) Time(now time.Time) {
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
