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
}

// overlap is a job that one took up before another said that it had put it down. Who hands a job back says so a moment
// after it has.
type overlap struct {
	job, by, other string
	at             time.Time
}

const moment = time.Second

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

// isFarewell reports whether a line is the error of a transferd that finds no Redis when it starts, or the hint below it.
func isFarewell(line []byte) bool {
	return bytes.HasPrefix(line, []byte("transferd: connect to the queue: ")) || bytes.HasPrefix(line, []byte("hint: is Redis running"))
}

func (r *runs) saw(daemon string, line logged) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.holders == nil {
		r.holders, r.taken = make(map[string]string), make(map[string]int)
	}
	switch {
	case line.Panic != nil:
		r.wrong = append(r.wrong, fmt.Sprintf("%s panics in job %s: %v", daemon, line.Job, line.Panic))
	case line.Message == "job taken up":
		if other := r.holders[line.Job]; other != "" {
			r.doubted = append(r.doubted, overlap{line.Job, daemon, other, time.Now()})
		}
		r.holders[line.Job] = daemon
		r.taken[line.Job]++
	case line.Message == "job put down":
		r.doubted = slices.DeleteFunc(r.doubted, func(o overlap) bool {
			return o.job == line.Job && o.other == daemon && time.Since(o.at) < moment
		})
		if r.holders[line.Job] == daemon {
			delete(r.holders, line.Job)
		}
	}
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
