package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// runs is which transferd ran which job, as their logs say.
type runs struct {
	mu      sync.Mutex
	holders map[string]string // job → who runs it now
	wrong   []string
	taken   map[string]int // how often each job was taken up
	doubted []overlap
	away    map[string]time.Time // the transferds that are cut off, and since when
	lost    map[string][]string  // daemon → jobs that another has taken up while it was cut off
	noQueue time.Time            // since when the queue fails; zero: it works

	takenFromCutOff int // how many jobs were taken from one that was cut off
}

// overlap is a job that one took up before another said that it had put it down. Who hands a job back says so a moment
// after it has.
type overlap struct {
	job, by, other string
	until          time.Time // the other must log it before this
}

const (
	moment = time.Second
	// learns is how long a transferd that was cut off may take to put down the jobs that it has
	// lost.
	learns = 5 * time.Second
	// lapses is how long a transferd keeps its jobs at least when it is cut off: it renews a lease
	// each third of it.
	lapses = leaseTime / 3 * 2
)

// logged is what of a log's line counts here.
type logged struct {
	Message string `json:"msg"`
	Job     string `json:"job"`
	Panic   any    `json:"panic"`
}

// of takes the log of one transferd, line by line.
func (r *runs) of(daemon string) io.Writer {
	return &logReader{line: func(text []byte) {
		if isFarewell(text) {
			return
		}
		var line logged
		if err := json.Unmarshal(text, &line); err != nil {
			r.mu.Lock()
			r.wrong = append(r.wrong, fmt.Sprintf("%s logs what is no JSON: %s", daemon, text))
			r.mu.Unlock()
			return
		}
		r.saw(daemon, line)
	}}
}

// farewells begin the last lines of a transferd that starts while Redis is away or refuses.
var farewells = []string{"transferd: connect to the queue: ", "transferd: announce this worker: ", "hint: "}

func isFarewell(line []byte) bool {
	return slices.ContainsFunc(farewells, func(begin string) bool { return bytes.HasPrefix(line, []byte(begin)) })
}

func (r *runs) saw(daemon string, line logged) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.holders == nil {
		r.holders, r.taken, r.lost = make(map[string]string), make(map[string]int), make(map[string][]string)
	}
	switch {
	case line.Panic != nil:
		r.wrong = append(r.wrong, fmt.Sprintf("%s panics in job %s: %v", daemon, line.Job, line.Panic))
	case line.Message == "job taken up":
		r.takenUp(line.Job, daemon)
		r.holders[line.Job] = daemon
		r.taken[line.Job]++
	case line.Message == "job put down":
		r.doubted = slices.DeleteFunc(r.doubted, func(o overlap) bool {
			return o.job == line.Job && o.other == daemon && r.inTime(o)
		})
		r.lost[daemon] = slices.DeleteFunc(r.lost[daemon], func(job string) bool { return job == line.Job })
		if r.holders[line.Job] == daemon {
			delete(r.holders, line.Job)
		}
	}
}

// takenUp notes that a transferd has taken up a job. Called with mu held.
func (r *runs) takenUp(job, daemon string) {
	other := r.holders[job]
	since, away := r.away[other]
	switch {
	case other == "":
	case away && time.Since(since) > lapses:
		r.lost[other] = append(r.lost[other], job)
		r.takenFromCutOff++
	default:
		r.doubted = append(r.doubted, overlap{job, daemon, other, time.Now().Add(moment)})
	}
}

// inTime reports whether an overlap may still end: transferds are not expected to learn anything
// while the queue fails. Called with mu held.
func (r *runs) inTime(o overlap) bool { return !r.noQueue.IsZero() || time.Now().Before(o.until) }

// queueFails says that the queue fails until works is called.
func (r *runs) queueFails() (works func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	began := time.Now()
	r.noQueue = began
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.noQueue = time.Time{}
		for i, o := range r.doubted {
			if o.until.After(began) {
				r.doubted[i].until = o.until.Add(time.Since(began))
			}
		}
	}
}

// cutOff says that a transferd is cut off from its jobs.
func (r *runs) cutOff(daemon string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away == nil {
		r.away = make(map[string]time.Time)
	}
	r.away[daemon] = time.Now()
	r.doubted = slices.DeleteFunc(r.doubted, func(o overlap) bool {
		again := o.other == daemon && r.inTime(o)
		if again { // before it could learn
			r.lost[daemon] = append(r.lost[daemon], o.job)
		}
		return again
	})
}

// back says that a transferd is cut off no longer, and must learn which jobs it has lost.
func (r *runs) back(daemon string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.away, daemon)
	for _, job := range r.lost[daemon] {
		r.doubted = append(r.doubted, overlap{job, r.holders[job], daemon, time.Now().Add(learns)})
	}
	delete(r.lost, daemon)
}

// verdict is all that must not be.
func (r *runs) verdict() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	wrong := r.wrong
	for _, o := range r.doubted {
		wrong = append(wrong, fmt.Sprintf("job %s is run by %s and %s at once", o.job, o.other, o.by))
	}
	return wrong
}

// died says that a transferd has ended, and runs nothing any more.
func (r *runs) died(daemon string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for job, holder := range r.holders {
		if holder == daemon {
			delete(r.holders, job)
		}
	}
	delete(r.lost, daemon)
	r.doubted = slices.DeleteFunc(r.doubted, func(o overlap) bool {
		return o.other == daemon && r.inTime(o)
	})
}

// logReader hands out lines. What a killed process left of its last one is dropped.
type logReader struct {
	line func([]byte)
	rest []byte
}

func (w *logReader) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		i := bytes.IndexByte(w.rest, '\n')
		if i < 0 {
			return len(p), nil
		}
		w.line(w.rest[:i])
		w.rest = w.rest[i+1:]
	}
}
