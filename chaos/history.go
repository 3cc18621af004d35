package main

import (
	"slices"
	"sync"
	"time"
)

// span is a period in which something happened.
type span struct{ from, to time.Time }

func (s span) overlaps(o span) bool { return !s.to.Before(o.from) && !o.to.Before(s.from) }

// history has when jobs were enqueued and ended, and the periods that a restored Redis has lost. A
// job of such a period may be missing, or run once more, so the content of its target is unknown.
// The zero value is ready.
type history struct {
	mu   sync.Mutex
	jobs map[string]*lifetime
	lost []span
}

// lifetime is when a job was enqueued and when it ended. The client knows only a period for each.
type lifetime struct {
	enqueued, ended span
	doubted         bool // it used a drive whose content is unknown
}

// enqueued records a job that was acknowledged.
func (h *history) enqueued(id string, began time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.jobs == nil {
		h.jobs = make(map[string]*lifetime)
	}
	if h.jobs[id] == nil {
		h.jobs[id] = &lifetime{enqueued: span{began, time.Now()}}
	}
}

// ended records that a query, which began at asked, found a job ended.
func (h *history) ended(id string, asked time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.jobs[id].ended = span{asked, time.Now()}
}

// lose records a period that Redis has lost.
func (h *history) lose(s span) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lost = append(h.lost, s)
}

// uses records that a job used the drive that another job, writer, wrote.
func (h *history) uses(id, writer string) {
	doubted := h.doubted(writer)
	h.mu.Lock()
	defer h.mu.Unlock()
	if j := h.jobs[id]; j != nil && doubted {
		j.doubted = true
	}
}

// doubted reports whether a job that has ended may run once more, or used a drive of such a job.
func (h *history) doubted(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	j := h.jobs[id]
	return j == nil || j.doubted || slices.ContainsFunc(h.lost, j.ended.overlaps)
}

// mayBeMissing reports whether Redis may have lost a job.
func (h *history) mayBeMissing(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.ContainsFunc(h.lost, h.jobs[id].enqueued.overlaps)
}

// undisturbed reports whether Redis has lost nothing since a job was enqueued.
func (h *history) undisturbed(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	life := span{h.jobs[id].enqueued.from, time.Now()}
	return !slices.ContainsFunc(h.lost, life.overlaps)
}

// all is the IDs of all jobs.
func (h *history) all() (ids []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id := range h.jobs {
		ids = append(ids, id)
	}
	return ids
}
