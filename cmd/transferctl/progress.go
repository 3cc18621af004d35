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
	// lineEvery is the time between two lines of progress, where stderr is not a terminal.
	lineEvery = 30 * time.Second
	// silentAfter is the time without an update after which the rate is shown as 0. A job saves its
	// progress each second, and a watcher reads it every three seconds.
	silentAfter = 8 * time.Second
)

// follower shows a job's progress: as lines of JSON on stdout, or on stderr as a bar on a terminal
// and as lines elsewhere. It is safe for concurrent use.
type follower struct {
	app  *app
	stop func() // ends it; may be called again

	mu        sync.Mutex
	job       *transfer.Job // as of its last update; nil: none yet
	updated   time.Time     // time of that update
	bar       *pb.ProgressBar
	tailShown bool // a line has said what happens to the target behind the image
}

// follow starts to follow a job. The caller calls stop.
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
			f.repeat()
		}
	}
}

// repeat shows the progress again, even if the job had no update since.
func (f *follower) repeat() {
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
		fmt.Fprintf(f.app.stderr, "%s %s: %s\n", j.Kind, j.ID, progressText(&j))
		return
	}
	f.draw(&j)
}

// show shows an update of the job.
func (f *follower) show(j *transfer.Job) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := *j
	f.job, f.updated = &now, time.Now()
	if !f.tailShown && !j.Tail.IsZero() {
		f.tailShown = true
		fmt.Fprintf(f.app.stderr, "%s: %s\n", j.Target, tailText(j)+foundText(j))
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

const barTemplate = `{{string . "kind"}} {{bar .}} {{string . "progress"}}`

// draw draws the bar, once the size of the image is known.
func (f *follower) draw(j *transfer.Job) {
	if f.bar == nil {
		if j.Chunks.Total == 0 || f.app.output != outputText {
			return
		}
		f.bar = pb.ProgressBarTemplate(barTemplate).New(0).SetWriter(f.app.stderr).Set("kind", j.Kind).Start()
	}
	done, total := doneOf(j)
	f.bar.SetTotal(total).SetCurrent(done).Set("progress", progressText(j))
}

// doneOf is the progress of a job in bytes, or in chunks if it has no bytes to move.
func doneOf(j *transfer.Job) (done, total int64) {
	if j.Bytes.Total > 0 {
		return min(j.Bytes.Done, j.Bytes.Total), j.Bytes.Total
	}
	return j.Chunks.Done, j.Chunks.Total
}

// doneText is the bytes that a job has moved, of all that it has to.
func doneText(j *transfer.Job) string {
	if j.Bytes.Total == 0 {
		return sizeText(j.Bytes.Done)
	}
	done, total := doneOf(j)
	return fmt.Sprintf("%s of %s (%d%%)", sizeText(done), sizeText(total), percent(done, total))
}

func percent(done, total int64) int64 { return int64(float64(done) * 100 / float64(max(total, 1))) }

// progressText is the progress of a running job, its rate, and the time that the rest takes at this
// rate.
func progressText(j *transfer.Job) string {
	s := fmt.Sprintf("%s, %s/s", doneText(j), sizeText(int64(j.Rate)))
	if left := j.Bytes.Total - j.Bytes.Done; left > 0 && j.Rate > 0 {
		rest := time.Duration(float64(left) / j.Rate * float64(time.Second))
		s += fmt.Sprintf(", %s left", ageText(rest))
	}
	return s
}
