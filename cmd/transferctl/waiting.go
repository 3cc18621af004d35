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

// unserved says why no transferd takes a job up; empty if one does.
func unserved(o *queue.Outlook, queueName string) string {
	switch {
	case !o.Served:
		return "no transferd serves queue " + queueName
	case o.Lacking != "":
		return fmt.Sprintf("no transferd that serves queue %s has the endpoint %s", queueName, o.Lacking)
	}
	return ""
}

// warnUnserved warns of a queued job that no transferd takes up.
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

// explain notes in a job that is queued what it waits for, as its worker does in one that runs.
func (a *app) explain(ctx context.Context, c *queue.Client, j *transfer.Job) error {
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

// waitingText says what a job waits for; empty: it goes on.
func waitingText(j *transfer.Job) string {
	w := j.Waiting
	switch {
	case w == nil:
		return ""
	case j.State == transfer.Queued:
		return w.Cause
	case w.GivesUp.IsZero():
		return fmt.Sprintf("%s since %s: %s", w.Word(), clock(w.Since), w.Cause)
	}
	text := fmt.Sprintf("%s since %s, retrying until %s", w.Word(), clock(w.Since), clock(w.GivesUp))
	if time.Until(w.Until) > time.Second {
		text += ", next at " + clock(w.Until)
	}
	return text + ": " + w.Cause
}

// clock is a time of day here; with its date if that is another day.
func clock(t time.Time) string {
	t = t.Local()
	if y, d := t.Year(), t.YearDay(); y != time.Now().Year() || d != time.Now().YearDay() {
		return t.Format("2006-01-02 15:04:05")
	}
	return t.Format("15:04:05")
}

// waitReporter prints what a job waits for: when that changes, and then every few seconds, or less
// often when it takes long.
type waitReporter struct {
	app     *app
	queue   *queue.Client // nil: the job runs here
	began   time.Time
	text    string
	since   time.Time // of the text
	printed time.Time
}

func (a *app) reportWaits(c *queue.Client) *waitReporter {
	return &waitReporter{app: a, queue: c, began: time.Now()}
}

const (
	reportEvery = 5 * time.Second
	// reportLater is how often a text is printed that has not changed for a minute.
	reportLater = 30 * time.Second
	// takeUp is how long a job may be queued before that is printed: most are taken up at once.
	takeUp = 2 * time.Second
)

func (r *waitReporter) show(ctx context.Context, j *transfer.Job) {
	if r.queue != nil && r.app.explain(ctx, r.queue, j) != nil {
		return // the queue is away; the watch reports that when it takes long
	}
	now, text := time.Now(), waitingText(j)
	every := reportEvery
	if now.Sub(r.since) > time.Minute {
		every = reportLater
	}
	switch {
	case j.State.Terminal(), text == r.text && (text == "" || now.Sub(r.printed) < every):
		return
	case j.State == transfer.Queued && now.Sub(r.began) < takeUp:
		return
	case text != r.text:
		r.text, r.since = text, now
	}
	if r.printed = now; text == "" {
		text = "the job goes on"
	}
	if isTerminal(r.app.stderr) {
		fmt.Fprint(r.app.stderr, "\r\x1b[K") // over a progress bar
	}
	fmt.Fprintln(cli.EscapeControls(r.app.stderr), text)
}
