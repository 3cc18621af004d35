package queue

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// record is the hash of a job in Redis.
type record struct {
	id       string
	epoch    int64
	attempts int
	crashes  int // since the job's last progress
	state    transfer.State
	spec     transfer.Spec
	plan     transfer.Plan
	progress transfer.Progress
	failure  *transfer.Failure
	worker   string
	created  time.Time
	started  *time.Time
	finished *time.Time
	due      *time.Time
	at       time.Time         // when it was read, by Redis' clock
	cancel   bool              // its worker has been asked to stop
	text     map[string]string // as it was read
}

// parseRecord parses the hash of a job. CodeNotFound: the hash is empty; errUnreadable: this
// version cannot parse it.
func parseRecord(id string, h map[string]string, at time.Time) (*record, error) {
	if len(h) == 0 {
		return nil, noSuchJob(id)
	}
	r := &record{
		id: id, state: transfer.State(h["state"]), worker: h["worker"], cancel: h["cancel"] != "", text: h, at: at,
	}
	parts := map[string]any{"spec": &r.spec, "plan": &r.plan, "progress": &r.progress, "error": &r.failure}
	for key, into := range parts {
		if text := h[key]; text != "" {
			if err := json.Unmarshal([]byte(text), into); err != nil {
				return nil, unreadable(id, key, err)
			}
		}
	}
	if !r.spec.Kind.Valid() {
		return nil, unreadable(id, "spec", fmt.Errorf("%q is not a kind of job", r.spec.Kind))
	}
	if r.state != transfer.Queued && r.state != transfer.Running && !r.state.Terminal() {
		return nil, unreadable(id, "state", fmt.Errorf("%q is not a state", r.state))
	}
	var err error
	if r.epoch, err = strconv.ParseInt(h["epoch"], 10, 64); err != nil {
		return nil, unreadable(id, "epoch", err)
	}
	if r.attempts, err = strconv.Atoi(h["attempts"]); err != nil {
		return nil, unreadable(id, "attempts", err)
	}
	r.crashes, _ = strconv.Atoi(h["crashes"]) // tests and older versions leave it out
	return r, r.parseTimes(h)
}

func (r *record) parseTimes(h map[string]string) error {
	var created *time.Time
	for key, into := range map[string]**time.Time{
		"created": &created, "started": &r.started, "finished": &r.finished, "due": &r.due,
	} {
		if *into = parseTime(h[key]); *into == nil && (h[key] != "" || key == "created") {
			return unreadable(r.id, key, fmt.Errorf("%q is not a time", h[key]))
		}
	}
	r.created = *created
	return nil
}

// parseLedger unpacks the ledger of a job. Each append is atomic, so a partial entry, or an entry
// for a chunk outside of the plan's image and its tail, is damage, and no entry of the ledger can
// be relied on.
func (r *record) parseLedger(packed []byte) ([]transfer.Entry, error) {
	if len(packed)%transfer.EntrySize != 0 {
		length := transfer.Count(len(packed), "byte")
		return nil, unreadable(r.id, "ledger", fmt.Errorf("its length of %s ends within an entry", length))
	}
	entries := transfer.ParseEntries(packed)
	for _, e := range entries {
		known := r.plan.ChunkSize > 0 && r.plan.Size > 0 && e.Index < transfer.TailIndex
		if e.Index < 0 || known && e.Index >= transfer.ChunkCount(r.plan.Size, r.plan.ChunkSize) {
			return nil, unreadable(r.id, "ledger", fmt.Errorf("chunk %d is not a chunk of the image", e.Index))
		}
	}
	return entries, nil
}

func parseTime(s string) *time.Time {
	ms, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return nil
	}
	t := time.UnixMilli(ms).UTC()
	return &t
}

// job converts the record to the job that users see.
func (r *record) job() transfer.Job {
	j := transfer.NewJob(r.id, &r.spec, r.created)
	specified := j.Drive
	j.State, j.Progress, j.Attempts, j.Worker, j.Error = r.state, r.progress, r.attempts, r.worker, r.failure
	j.Drive = cmp.Or(j.Drive, r.plan.Drive, specified)
	j.StartedAt, j.FinishedAt, j.Deadline = r.started, r.finished, r.due
	j.SetTimes(r.at)
	j.Stopping = r.cancel && !r.state.Terminal()
	j.NoteLeftover(&r.spec, &r.plan, "transferctl jobs cancel --destroy "+r.id+" removes the drive")
	return j
}
