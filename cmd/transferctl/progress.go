package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/cheggaaa/pb/v3"

	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/transfer"
)

const (
	// lineEvery is how often a line of progress is printed where a bar cannot be drawn.
	lineEvery = 30 * time.Second
	// silentAfter is when a job without an update counts as standing still: it saves each second,
	// and a watcher reads that every three.
	silentAfter = 8 * time.Second
)

// follower shows a job's progress: as lines of JSON on stdout, or on stderr as a bar on a terminal
// and as lines elsewhere. It is safe for concurrent use.
type follower struct {
	app  *app
	stop func() // ends it; again is harmless

	mu        sync.Mutex
	job       *transfer.Job // its last update; nil: none yet
	updated   time.Time     // when that was
	bar       *pb.ProgressBar
	tailShown bool // what is lost of the target
}

// follow begins to follow a job; the caller stops it.
func (a *app) follow() *follower {
	f := &follower{app: a}
	every, ended := lineEvery, make(chan struct{})
	if isTerminal(a.stderr) {
		every = time.Second
	}
	wait := func() {}
	if a.output != outputJSONL {
		wait = panics.Go(func() { f.tick(every, ended) }, func(err error) { fmt.Fprintln(a.stderr, err) })
	}
	f.stop = sync.OnceFunc(func() {
		close(ended)
		wait()
		if f.bar != nil {
			f.bar.Finish()
		}
	})
	return f
}

func (f *follower) tick(every time.Duration, ended <-chan struct{}) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
			f.remind()
		}
	}
}

// remind shows how far the job is, also if it had no update for a while.
func (f *follower) remind() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.job == nil || f.job.State != transfer.Running {
		return
	}
	j := *f.job
	if time.Since(f.updated) > silentAfter {
		j.Rate = 0
	}
	if !isTerminal(f.app.stderr) {
		fmt.Fprintf(f.app.stderr, "%s %s: %s\n", j.Kind, j.ID, progress(&j))
		return
	}
	f.draw(&j)
}

// show takes the job as it is now.
func (f *follower) show(j *transfer.Job) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := *j
	f.job, f.updated = &now, time.Now()
	if !f.tailShown && !j.Tail.IsZero() {
		f.tailShown = true
		fmt.Fprintf(f.app.stderr, "%s: %s\n", j.Target, tail(j)+held(j))
	}
	if f.app.output == outputJSONL {
		if j.State.Terminal() {
			return nil
		}
		return printLine(f.app.stdout, j)
	}
	if f.app.output == outputText && isTerminal(f.app.stderr) {
		f.draw(j)
	}
	return nil
}

const barTemplate = `{{string . "what"}} {{bar .}} {{string . "far"}}`

// draw draws the bar, from when it is known how long it is.
func (f *follower) draw(j *transfer.Job) {
	if f.bar == nil {
		if j.Chunks.Total == 0 || f.app.output != outputText {
			return
		}
		f.bar = pb.ProgressBarTemplate(barTemplate).New(0).SetWriter(f.app.stderr).Set("what", j.Kind).Start()
	}
	done, total := far(j)
	f.bar.SetTotal(total).SetCurrent(done).Set("far", progress(j))
}

// far is how far a job is: in bytes, or in chunks where there are no bytes to move.
func far(j *transfer.Job) (done, total int64) {
	if j.Bytes.Total > 0 {
		return min(j.Bytes.Done, j.Bytes.Total), j.Bytes.Total
	}
	return j.Chunks.Done, j.Chunks.Total
}

// moved says how much of its bytes a job has moved.
func moved(j *transfer.Job) string {
	if j.Bytes.Total == 0 {
		return human(j.Bytes.Done)
	}
	done, total := far(j)
	return fmt.Sprintf("%s of %s (%d%%)", human(done), human(total), percent(done, total))
}

func percent(done, total int64) int64 { return int64(float64(done) * 100 / float64(max(total, 1))) }

// progress says how far a running job is, how fast it moves and how long the rest takes at that
// rate.
func progress(j *transfer.Job) string {
	s := fmt.Sprintf("%s, %s/s", moved(j), human(int64(j.Rate)))
	if left := j.Bytes.Total - j.Bytes.Done; left > 0 && j.Rate > 0 {
		rest := time.Duration(float64(left) / j.Rate * float64(time.Second))
		s += fmt.Sprintf(", %s left", rest.Round(time.Second))
	}
	return s
}
