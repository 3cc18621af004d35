package main

import (
	"context"
	"fmt"
	"time"

	"github.com/transferd/transferd/internal/cli"
	"github.com/transferd/transferd/internal/endpoints"
	"github.com/transferd/transferd/internal/queue"
	"github.com/transferd/transferd/internal/transfer"
)

// unserved says why no transferd will run a job; empty if one will.
func unserved(o *queue.Outlook, queueName string) string {
	switch {
	case !o.Served:
		return "no transferd serves queue " + queueName
	case o.Lacking != "":
		return fmt.Sprintf("no transferd that serves queue %s has the endpoint %s", queueName, o.Lacking)
	}
	return ""
}

// warnUnserved warns of a queued job that no transferd will run.
func (a *app) warnUnserved(ctx context.Context, c *queue.Client, j *transfer.Job) error {
	o, err := c.Outlook(ctx, &transfer.Job{Queue: j.Queue}, endpointsOf(j))
	if why := unserved(&o, j.Queue); err == nil && why != "" && j.State == transfer.Queued {
		fmt.Fprintf(a.stderr, "job %s waits: %s; start one with transferd --queue %s\n", j.ID, why, j.Queue)
	}
	return err
}

// endpointsOf is the endpoints that a job names.
func endpointsOf(j *transfer.Job) (names []string) {
	for _, address := range []string{j.Source, j.Target} {
		if r, err := endpoints.Schemes.Parse(address); err == nil && r.IsDrive() {
			names = append(names, r.Endpoint)
		}
	}
	return names
}

// setWaiting sets what a queued job waits for. In a running job its worker does that.
func (a *app) setWaiting(ctx context.Context, c *queue.Client, j *transfer.Job) error {
	if j.State != transfer.Queued {
		return nil
	}
	o, err := c.Outlook(ctx, j, endpointsOf(j))
	if err != nil {
		return err
	}
	j.Waiting = &transfer.Waiting{Cause: queuedText(&o, j.Queue), Since: j.CreatedAt}
	return nil
}

// queuedText says what a queued job waits for.
func queuedText(o *queue.Outlook, queueName string) string {
	text := fmt.Sprintf("queued, %d before it", o.Before)
	if o.Many {
		text = fmt.Sprintf("queued, more than %d before it", o.Before)
	}
	if why := unserved(o, queueName); why != "" {
		text += "; " + why
	}
	return text
}

// waitingText says what a job waits for; empty if it does not wait.
func waitingText(j *transfer.Job) string {
	w := j.Waiting
	switch {
	case w == nil:
		return ""
	case j.State == transfer.Queued:
		return w.Cause
	case w.GivesUp.IsZero():
		return fmt.Sprintf("%s since %s: %s", w.Word(), timeOfDay(w.Since), w.Cause)
	}
	text := fmt.Sprintf("%s since %s, retrying until %s", w.Word(), timeOfDay(w.Since), timeOfDay(w.GivesUp))
	if time.Until(w.Until) > time.Second {
		text += ", next at " + timeOfDay(w.Until)
	}
	return text + ": " + w.Cause
}

// timeOfDay is t in local time, with its date unless that is today.
func timeOfDay(t time.Time) string {
	t = t.Local()
	if y, d := t.Year(), t.YearDay(); y != time.Now().Year() || d != time.Now().YearDay() {
		return t.Format("2006-01-02 15:04:05")
	}
	return t.Format("15:04:05")
}

// waitReporter prints what a job waits for when that changes, and then repeats it every few
// seconds, later every half minute.
type waitReporter struct {
	app     *app
	queue   *queue.Client // nil: the job runs in this process
	started time.Time
	text    string
	since   time.Time // of the text
	printed time.Time
}

func (a *app) reportWaits(c *queue.Client) *waitReporter {
	return &waitReporter{app: a, queue: c, started: time.Now()}
}

const (
	reportEvery = 5 * time.Second
	// reportRarely is the time between two prints of a text that has not changed for a minute.
	reportRarely = 30 * time.Second
	// queuedTime is how long a job is queued before that is printed: most jobs start at once.
	queuedTime = 2 * time.Second
)

// show prints what the job waits for, if that is due.
func (r *waitReporter) show(ctx context.Context, j *transfer.Job) {
	if r.queue != nil && r.app.setWaiting(ctx, r.queue, j) != nil {
		return // the queue is not reachable; the watch reports that if it lasts
	}
	now, text := time.Now(), waitingText(j)
	every := reportEvery
	if now.Sub(r.since) > time.Minute {
		every = reportRarely
	}
	switch {
	case j.State.Terminal(), text == r.text && (text == "" || now.Sub(r.printed) < every):
		return
	case j.State == transfer.Queued && now.Sub(r.started) < queuedTime:
		return
	case text != r.text:
		r.text, r.since = text, now
	}
	if r.printed = now; text == "" {
		text = "the job continues"
	}
	if isTerminal(r.app.stderr) {
		fmt.Fprint(r.app.stderr, "\r\x1b[K") // over a progress bar
	}
	fmt.Fprintln(cli.EscapeControls(r.app.stderr), text)
}
