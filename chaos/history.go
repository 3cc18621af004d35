package main

import (
	"slices"
	"sync"
	"time"
)

// span is a time in which something happened.
type span struct{ from, to time.Time }

func (s span) meets(o span) bool { return !s.to.Before(o.from) && !o.to.Before(s.from) }

// history is when jobs were enqueued and ended, and what of it Redis has forgotten. Such a job may be
// missing, or be run once more, so that nothing is known of what it writes. The zero value is ready.
type history struct {
	mu        sync.Mutex
	jobs      map[string]*lifetime
	forgotten []span
}

// lifetime is when a job was enqueued and when it ended, as its user saw.
type lifetime struct {
	enqueued, ended span
	doubted         bool // it used a drive of which nothing is known
}

// enqueued notes a job that was acknowledged.
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

// ended notes that a job was seen to have ended by a look that began at a time.
func (h *history) ended(id string, looked time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.jobs[id].ended = span{looked, time.Now()}
}

// forget notes that Redis has forgotten a time.
func (h *history) forget(s span) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forgotten = append(h.forgotten, s)
}

// uses notes that a job used the drive that another has written.
func (h *history) uses(id, writer string) {
	doubted := h.doubted(writer)
	h.mu.Lock()
	defer h.mu.Unlock()
	if j := h.jobs[id]; j != nil && doubted {
		j.doubted = true
	}
}

// doubted reports whether a job that has ended may be run once more.
func (h *history) doubted(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	j := h.jobs[id]
	return j == nil || j.doubted || slices.ContainsFunc(h.forgotten, j.ended.meets)
}

// mayBeMissing reports whether Redis may have forgotten a job.
func (h *history) mayBeMissing(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.ContainsFunc(h.forgotten, h.jobs[id].enqueued.meets)
}

// undisturbed reports whether Redis has forgotten nothing since a job was enqueued.
func (h *history) undisturbed(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	life := span{h.jobs[id].enqueued.from, time.Now()}
	return !slices.ContainsFunc(h.forgotten, life.meets)
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
