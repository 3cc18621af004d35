package queue

import (
	"context"
	"slices"
	"strings"

	"github.com/transferd/transferd/internal/transfer"
)

// Outlook says what a queued job waits for.
type Outlook struct {
	Served bool // a transferd serves its queue
	// Lacking is an endpoint of the job that no transferd serving the queue is configured for;
	// empty: there is none.
	Lacking string
	Before  int  // jobs of its queue and priority that start before it, counted up to a limit
	Many    bool // there are more than Before
}

// maxCounted is how many jobs before one are counted.
const maxCounted = 1000

// Outlook returns whether a transferd can run a job that uses these endpoints, and how many jobs
// start before it. Without an ID in j it does not count jobs.
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

// serving reports whether a worker serves a queue. If none of these workers has all of the
// endpoints, lacking is one that is missing.
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

// pendingKey is asynq's list of the triggers of a queue. It delivers the last one next.
func pendingKey(queue string) string { return "asynq:{" + queue + "}:pending" }

// before counts the queued jobs whose triggers are delivered before that of a job. A job without a
// trigger in the list is about to start.
func (c *Client) before(ctx context.Context, j *transfer.Job) (n int, many bool, err error) {
	tasks, err := c.rdb.LRange(ctx, pendingKey(queueName(j.Queue, j.Priority)), -maxCounted-1, -1).Result()
	if err != nil {
		return 0, false, failed("read the queue", err)
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
	many = !found && len(tasks) > maxCounted
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
