package queue

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// record is a job as Redis has it.
type record struct {
	id       string
	epoch    int64
	attempts int
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
	cancel   bool // its worker has been asked to stop
}

// parseRecord reads the hash of a job; CodeNotFound if it is empty.
func parseRecord(id string, h map[string]string) (*record, error) {
	if h["spec"] == "" {
		return nil, noSuchJob(id)
	}
	r := &record{id: id, state: transfer.State(h["state"]), worker: h["worker"], cancel: h["cancel"] != ""}
	for key, into := range map[string]any{"spec": &r.spec, "plan": &r.plan, "progress": &r.progress, "error": &r.failure} {
		if text := h[key]; text != "" {
			if err := json.Unmarshal([]byte(text), into); err != nil {
				return nil, fmt.Errorf("read %s of job %s: %w", key, id, err)
			}
		}
	}
	var err error
	if r.epoch, err = strconv.ParseInt(h["epoch"], 10, 64); err != nil {
		return nil, fmt.Errorf("read epoch of job %s: %w", id, err)
	}
	if r.attempts, err = strconv.Atoi(h["attempts"]); err != nil {
		return nil, fmt.Errorf("read attempts of job %s: %w", id, err)
	}
	r.started, r.finished = parseTime(h["started"]), parseTime(h["finished"])
	r.due = parseTime(h["due"])
	if t := parseTime(h["created"]); t != nil {
		r.created = *t
	}
	return r, nil
}

func parseTime(s string) *time.Time {
	ms, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return nil
	}
	t := time.UnixMilli(ms).UTC()
	return &t
}

// job is the record as users see it.
func (r *record) job() transfer.Job {
	j := transfer.NewJob(r.id, &r.spec, r.created)
	drive := j.Drive
	j.State, j.Progress, j.Attempts, j.Worker, j.Error = r.state, r.progress, r.attempts, r.worker, r.failure
	if j.Drive == "" && r.plan.Drive == "" {
		j.Drive = drive
	}
	if j.Drive == "" {
		j.Drive = r.plan.Drive
	}
	j.StartedAt, j.FinishedAt, j.Deadline = r.started, r.finished, r.due
	j.Time(time.Now())
	return j
}
