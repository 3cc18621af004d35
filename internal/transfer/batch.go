package transfer

import (
	"maps"
	"slices"
	"time"
)

// Skipped is the state of an item of a batch that was done already when the batch began. No job has
// it.
const Skipped State = "skipped"

// BatchState is the state of a batch.
type BatchState string

// The states of a batch. It succeeds if all items have succeeded or were skipped.
const (
	BatchRunning   BatchState = "running"
	BatchPaused    BatchState = "paused" // enqueues no further items
	BatchSucceeded BatchState = "succeeded"
	BatchFailed    BatchState = "failed"
	BatchCanceled  BatchState = "canceled"
	BatchPlanned   BatchState = "planned" // of a dry run
)

// Batch is a batch as users see it; its JSON is the contract of `batch show -o json`.
type Batch struct {
	ID        string      `json:"id,omitempty"`
	Plan      string      `json:"plan,omitempty"` // path of the plan file
	State     BatchState  `json:"state"`
	Stopping  bool        `json:"stopping,omitempty"` // it was canceled, and some of its jobs have not stopped yet
	CreatedAt time.Time   `json:"created_at,omitzero"`
	Items     []BatchItem `json:"items"`
	Totals    BatchTotals `json:"totals"`
	Findings  []Finding   `json:"findings,omitempty"`
	// Estimate is how many seconds the batch takes at the rate of earlier jobs; 0: not known.
	Estimate float64 `json:"estimate_seconds,omitempty"`
}

// BatchItem is a line of a batch: one source, one target, one job.
type BatchItem struct {
	Kind    Kind     `json:"kind"`
	Source  string   `json:"source"`
	Target  string   `json:"target"`
	Name    string   `json:"name,omitempty"` // of the new drive
	Format  string   `json:"format,omitempty"`
	State   State    `json:"state"`
	Job     string   `json:"job,omitempty"`
	Drive   string   `json:"drive,omitempty"`
	Size    int64    `json:"size,omitempty"` // of the image, bytes; 0: not known yet
	Bytes   int64    `json:"bytes"`          // of the image, that are done
	Seconds float64  `json:"seconds"`
	Rate    float64  `json:"rate,omitempty"` // bytes a second, of a running job
	Error   *Failure `json:"error,omitempty"`
}

// BatchTotals counts the items of a batch by their states.
type BatchTotals struct {
	Items     int   `json:"items"`
	Succeeded int   `json:"succeeded"`
	Failed    int   `json:"failed"`
	Skipped   int   `json:"skipped"`
	Canceled  int   `json:"canceled"`
	Running   int   `json:"running"`
	Queued    int   `json:"queued"`
	Bytes     int64 `json:"bytes"`     // of all images, that are done
	BytesAll  int64 `json:"bytes_all"` // of all images, as far as their sizes are known
	Unknown   int   `json:"unknown"`   // items whose image's size is not known yet
}

// Follow sets what a job has done so far. entry is what was known before it began.
func (i *BatchItem) Follow(j *Job) {
	i.State, i.Seconds, i.Error, i.Rate = j.State, j.Seconds, j.Error, 0
	if j.Drive != "" {
		i.Drive = j.Drive
	}
	if j.Size > 0 {
		i.Size = j.Size
	}
	switch total := j.Bytes.Total; {
	case j.State == Succeeded:
		i.Bytes = i.Size
	case total > 0:
		i.Bytes = int64(float64(min(j.Bytes.Done, total)) / float64(total) * float64(i.Size))
	}
	if j.State == Running {
		i.Rate = j.Rate
	}
}

// Count sets the totals from the items and, unless the batch is paused, its state. canceled says
// that a user has canceled the batch.
func (b *Batch) Count(canceled, paused bool) {
	t := BatchTotals{Items: len(b.Items)}
	for i := range b.Items {
		item := &b.Items[i]
		switch item.State {
		case Succeeded:
			t.Succeeded++
		case Failed:
			t.Failed++
		case Skipped:
			t.Skipped++
		case Canceled:
			t.Canceled++
		case Running:
			t.Running++
		default:
			t.Queued++
		}
		t.Bytes += item.Bytes
		t.BytesAll += item.Size
		if item.Size == 0 {
			t.Unknown++
		}
	}
	b.Totals, b.Stopping = t, canceled && t.Queued+t.Running > 0
	switch {
	case t.Succeeded+t.Skipped == t.Items:
		b.State = BatchSucceeded
	case t.Queued+t.Running > 0 && paused:
		b.State = BatchPaused
	case t.Queued+t.Running > 0:
		b.State = BatchRunning
	case canceled || t.Canceled > 0 && t.Failed == 0:
		b.State = BatchCanceled
	default:
		b.State = BatchFailed
	}
}

// Ended reports whether no item of the batch changes any more, unless a user retries it.
func (s BatchState) Ended() bool {
	return s == BatchSucceeded || s == BatchFailed || s == BatchCanceled
}

// BatchEntry is an item of a batch as its record has it.
type BatchEntry struct {
	// Key identifies the item in all batches: a hash of its kind, source, target and name.
	Key  string    `json:"key"`
	Item BatchItem `json:"item"`           // as it was planned; its Job is fixed from the start
	Spec *Spec     `json:"spec,omitempty"` // of the job; nil: the item was done already
	// Replaces is the last job of the item, which has ended; empty: it had none.
	Replaces string `json:"replaces,omitempty"`
	// Retry says that Item.Job exists, has ended without success, and continues.
	Retry bool `json:"retry,omitempty"`
	// Attached says that Item.Job belongs to another batch that has the same item.
	Attached bool `json:"attached,omitempty"`
}

// NewBatch is what a batch is made from.
type NewBatch struct {
	Plan        string // path of the plan file
	Fingerprint string // of the plan: two batches with the same one are one, while the first runs
	Entries     []BatchEntry
}

// ItemKey identifies an item of a batch.
type ItemKey struct {
	Key  string // in all batches
	Spec string // Fingerprint of its spec; jobs that belong to no batch have only that
}

// LastJob is the last job of an item of a batch, and what it knows of the image.
type LastJob struct {
	Job    Job
	Spec   Spec
	Known  KnownImage
	Sample []Entry // of chunks that are not zeros; of a job that has succeeded
}

// RateKey identifies, among measured rates, what a job does.
func RateKey(k Kind, endpoint string) string { return string(k) + " " + endpoint }

// SampleEntries returns up to n chunks of the ledger of an image of size bytes, at random places.
// The last entry of a chunk counts. random returns a number below its argument.
func SampleEntries(entries []Entry, size int64, chunkSize, n int, random func(int) int) []Entry {
	last := make(map[int64]Entry, len(entries))
	for _, e := range entries {
		if e.Index < ChunkCount(size, chunkSize) {
			last[e.Index] = e
		}
	}
	indexes := slices.Sorted(maps.Keys(last))
	var sample []Entry
	for len(sample) < n && len(indexes) > 0 {
		i := random(len(indexes))
		sample = append(sample, last[indexes[i]])
		indexes = slices.Delete(indexes, i, i+1)
	}
	return sample
}
