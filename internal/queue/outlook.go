package queue

import (
	"context"
	"slices"
	"strings"

	"github.com/transferd/transferd/internal/transfer"
)

// Outlook is what a job that is queued has to expect.
type Outlook struct {
	Served bool // a transferd serves its queue
	// Lacking is the endpoint that no transferd which serves the queue has in its config; empty:
	// none.
	Lacking string
	Before  int  // how many jobs of its queue and priority are taken up before it, as far as they are counted
	Many    bool // there are more than Before
}

// mostCounted is how many jobs before one are counted.
const mostCounted = 1000

// Outlook looks who could take up a job, which names these endpoints, and how many others come
// before it; for a job without an ID, only who could take it up.
func (c *Client) Outlook(ctx context.Context, j *transfer.Job, endpoints []string) (o Outlook, err error) {
	workers, err := c.Workers(ctx)
	if err != nil {
		return o, err
	}
	o.Served, o.Lacking = serving(workers, j.Queue, endpoints)
	if j.ID != "" {
		o.Before, o.Many, err = c.before(ctx, j)
	}
	return o, err
}

// serving reports whether one of the workers serves a queue, and which endpoint none of those has.
func serving(workers []Worker, queue string, endpoints []string) (served bool, lacking string) {
	missing := make(map[string]bool)
	for _, w := range workers {
		if !slices.Contains(w.Queues, queue) {
			continue
		}
		served = true
		lacks := slices.IndexFunc(endpoints, func(name string) bool { return !slices.Contains(w.Endpoints, name) })
		if lacks < 0 {
			return true, ""
		}
		missing[endpoints[lacks]] = true
	}
	for name := range missing {
		return served, name
	}
	return served, ""
}

// pendingKey is where asynq keeps the triggers of a queue; the one that is delivered next is the
// last.
func pendingKey(queue string) string { return "asynq:{" + queue + "}:pending" }

// before counts the jobs whose triggers are delivered before that of a job: those that wait still.
// A job whose own trigger is not there is being taken up.
func (c *Client) before(ctx context.Context, j *transfer.Job) (n int, many bool, err error) {
	tasks, err := c.rdb.LRange(ctx, pendingKey(queueName(j.Queue, j.Priority)), -mostCounted-1, -1).Result()
	if err != nil {
		return 0, false, failed("look at the queue", err)
	}
	var ids []string
	found := false
	for _, task := range slices.Backward(tasks) {
		id, _, _ := strings.Cut(task, ":")
		if found = id == j.ID; found {
			break
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	many = !found && len(tasks) > mostCounted
	if !found && !many {
		return 0, false, nil
	}
	jobs, err := c.statuses(ctx, ids)
	if err != nil {
		return 0, false, err
	}
	for _, job := range jobs {
		if job.state == transfer.Queued {
			n++
		}
	}
	return n, many, nil
}
