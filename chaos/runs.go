package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/transferd/transferd/internal/queue"
)

// runs checks that no two transferds run one job at once. The log lines of the transferds are its
// events.
type runs struct {
	mu       sync.Mutex
	holders  map[string]string // job → the transferd that runs it now
	errors   []string
	starts   map[string]int // job → its attempts
	overlaps []overlap
	cutSince map[string]time.Time // the transferds that are cut off, and since when
	taken    map[string][]string  // transferd → jobs that others started while it was cut off
	// queueDownSince is when the queue began to fail; zero: it works.
	queueDownSince time.Time

	takeovers int // jobs that were started elsewhere while their transferd was cut off
}

// overlap is a job that started on one transferd before another had logged the end of its attempt,
// which a transferd does shortly after it has released the job.
type overlap struct {
	job, by, other string
	until          time.Time // the other must log the end before this
}

const (
	logDelay = 3 * time.Second // with all processes on two busy cores
	// fenceTime is how long a transferd may take to end the attempts that it has lost, after it was
	// cut off.
	fenceTime = 5 * time.Second
	// leastHold is how long a transferd keeps its jobs at least when it is cut off: it renews a
	// lease in each third of it.
	leastHold = leaseTime / 3 * 2
)

// logLine is the part of a log line that runs reads.
type logLine struct {
	Message string `json:"msg"`
	Job     string `json:"job"`
	Panic   any    `json:"panic"`
}

// logOf is where one transferd writes its log, which also goes to file.
func (r *runs) logOf(daemon string, file io.Writer) io.Writer {
	return io.MultiWriter(file, &lineWriter{line: func(text []byte) {
		if isStartError(text) {
			return
		}
		var line logLine
		if err := json.Unmarshal(text, &line); err != nil {
			r.mu.Lock()
			r.errors = append(r.errors, fmt.Sprintf("%s logs a line that is not JSON: %s", daemon, text))
			r.mu.Unlock()
			return
		}
		r.handle(daemon, line)
	}})
}

// startErrors begin the last lines of a transferd that starts while Redis is away or refuses.
var startErrors = []string{"transferd: connect to the queue: ", "transferd: announce this worker: ", "hint: "}

func isStartError(line []byte) bool {
	return slices.ContainsFunc(startErrors, func(begin string) bool { return bytes.HasPrefix(line, []byte(begin)) })
}

func (r *runs) handle(daemon string, line logLine) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.holders == nil {
		r.holders, r.starts, r.taken = make(map[string]string), make(map[string]int), make(map[string][]string)
	}
	switch {
	case line.Panic != nil:
		r.errors = append(r.errors, fmt.Sprintf("%s panics in job %s: %v", daemon, line.Job, line.Panic))
	case line.Message == queue.LogStarted:
		r.checkStart(line.Job, daemon)
		r.holders[line.Job] = daemon
		r.starts[line.Job]++
	case line.Message == queue.LogEnded || line.Message == queue.LogReleased:
		r.overlaps = slices.DeleteFunc(r.overlaps, func(o overlap) bool {
			return o.job == line.Job && o.other == daemon && r.inTime(o)
		})
		r.taken[daemon] = slices.DeleteFunc(r.taken[daemon], func(job string) bool { return job == line.Job })
		if r.holders[line.Job] == daemon {
			delete(r.holders, line.Job)
		}
	}
}

// checkStart records an overlap if a job starts while another transferd runs it. The caller holds
// mu.
func (r *runs) checkStart(job, daemon string) {
	other := r.holders[job]
	since, cut := r.cutSince[other]
	switch {
	case other == "":
	case cut && time.Since(since) > leastHold:
		r.taken[other] = append(r.taken[other], job)
		r.takeovers++
	default:
		r.overlaps = append(r.overlaps, overlap{job, daemon, other, time.Now().Add(logDelay)})
	}
}

// inTime reports whether an overlap may still end: no transferd can find out that it lost a job
// while the queue fails. The caller holds mu.
func (r *runs) inTime(o overlap) bool {
	return !r.queueDownSince.IsZero() || time.Now().Before(o.until)
}

// queueFails records that the queue fails until works is called.
func (r *runs) queueFails() (works func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	began := time.Now()
	r.queueDownSince = began
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.queueDownSince = time.Time{}
		for i, o := range r.overlaps {
			if o.until.After(began) {
				r.overlaps[i].until = o.until.Add(time.Since(began))
			}
		}
	}
}

// cutOff records that a transferd is cut off.
func (r *runs) cutOff(daemon string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cutSince == nil {
		r.cutSince = make(map[string]time.Time)
	}
	r.cutSince[daemon] = time.Now()
	r.overlaps = slices.DeleteFunc(r.overlaps, func(o overlap) bool {
		again := o.other == daemon && r.inTime(o)
		if again { // it was cut off before its next renewal
			r.taken[daemon] = append(r.taken[daemon], o.job)
		}
		return again
	})
}

// reconnected records that a transferd is no longer cut off: it must end the attempts of the jobs
// that it has lost.
func (r *runs) reconnected(daemon string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.cutSince, daemon)
	for _, job := range r.taken[daemon] {
		r.overlaps = append(r.overlaps, overlap{job, r.holders[job], daemon, time.Now().Add(fenceTime)})
	}
	delete(r.taken, daemon)
}

// verdict returns all errors.
func (r *runs) verdict() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.errors
	for _, o := range r.overlaps {
		all = append(all, fmt.Sprintf("job %s is run by %s and %s at once", o.job, o.other, o.by))
	}
	return all
}

// exited records that the process of a transferd has ended, and runs no job.
func (r *runs) exited(daemon string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for job, holder := range r.holders {
		if holder == daemon {
			delete(r.holders, job)
		}
	}
	delete(r.taken, daemon)
	r.overlaps = slices.DeleteFunc(r.overlaps, func(o overlap) bool {
		return o.other == daemon && r.inTime(o)
	})
}

// lineWriter calls line with each complete line that is written. It drops the unfinished last line
// of a killed process.
type lineWriter struct {
	line    func([]byte)
	pending []byte
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.pending = append(w.pending, p...)
	for {
		i := bytes.IndexByte(w.pending, '\n')
		if i < 0 {
			return len(p), nil
		}
		w.line(w.pending[:i])
		w.pending = w.pending[i+1:]
	}
}
