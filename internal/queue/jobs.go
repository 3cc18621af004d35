package queue

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/transferd/transferd/internal/transfer"
)

func (c *Client) record(ctx context.Context, id string) (*record, error) {
	var found *redis.MapStringStringCmd
	var at *redis.TimeCmd
	_, err := c.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		found, at = p.HGetAll(ctx, recordKey(id)), p.Time(ctx)
		return nil
	})
	if err != nil && !answered(err) {
		return nil, failed("read job "+id, err)
	}
	return readRecord(id, found, timeOf(at))
}

func readRecord(id string, found *redis.MapStringStringCmd, at time.Time) (*record, error) {
	h, err := found.Result()
	switch {
	case err == nil:
		return parseRecord(id, h, at)
	case answered(err):
		return nil, unreadable(id, "record", err)
	}
	return nil, failed("read job "+id, err)
}

// records reads many jobs at once. It leaves out jobs that do not exist. It reports those that
// cannot be read to Warn, and returns their IDs as skipped.
func (c *Client) records(ctx context.Context, ids []string) (records []*record, skipped []string, err error) {
	found := make([]*redis.MapStringStringCmd, len(ids))
	var at *redis.TimeCmd
	_, err = c.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, id := range ids {
			found[i] = p.HGetAll(ctx, recordKey(id))
		}
		at = p.Time(ctx)
		return nil
	})
	if err != nil && !answered(err) {
		return nil, nil, failed("read jobs", err)
	}
	for i, id := range ids {
		r, err := readRecord(id, found[i], timeOf(at))
		switch {
		case err == nil:
			records = append(records, r)
		case errors.Is(err, errUnreadable):
			c.skip(id, err)
			skipped = append(skipped, id)
		case transfer.CodeOf(err) != transfer.CodeNotFound:
			return nil, nil, err
		}
	}
	return records, skipped, nil
}

// Job returns a job. CodeNotFound: there is none of that ID.
func (c *Client) Job(ctx context.Context, id string) (transfer.Job, error) {
	r, err := c.record(ctx, id)
	if err != nil {
		return transfer.Job{}, err
	}
	return r.job(), nil
}

// Filter selects jobs.
type Filter struct {
	States []transfer.State // none: all
	Limit  int              // 0: all
}

// pageSize is how many records are read in one round trip.
const pageSize = 500

// Jobs lists jobs, the newest first.
func (c *Client) Jobs(ctx context.Context, f Filter) ([]transfer.Job, error) {
	var jobs []transfer.Job
	err := c.eachPage(ctx, func(records []*record) (bool, error) {
		for _, r := range records {
			if len(f.States) > 0 && !slices.Contains(f.States, r.state) {
				continue
			}
			jobs = append(jobs, r.job())
			if len(jobs) == f.Limit {
				return false, nil
			}
		}
		return true, nil
	})
	return jobs, err
}

// Newest is Jobs. cut reports whether there are more jobs than the limit.
func (c *Client) Newest(ctx context.Context, f Filter) (jobs []transfer.Job, cut bool, err error) {
	limit := f.Limit
	if limit > 0 {
		f.Limit++
	}
	jobs, err = c.Jobs(ctx, f)
	if limit > 0 && len(jobs) > limit {
		return jobs[:limit], true, err
	}
	return jobs, false, err
}

// eachPage calls do with all jobs, the newest first, until it returns false.
func (c *Client) eachPage(ctx context.Context, do func([]*record) (more bool, err error)) error {
	ids, err := c.rdb.ZRevRange(ctx, keyJobs, 0, -1).Result()
	if err != nil {
		return failed("list jobs", err)
	}
	for chunk := range slices.Chunk(ids, pageSize) {
		records, _, err := c.records(ctx, chunk)
		if err != nil {
			return err
		}
		if more, err := do(records); !more || err != nil {
			return err
		}
	}
	return nil
}

func mustJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// Cancel ends a queued job, and asks the worker of a running job to stop, which it does within a
// second or two. Data that the job has written stays. CodeInvalid: the job has ended. CodeNotFound:
// there is none of that ID.
func (c *Client) Cancel(ctx context.Context, id string) (transfer.Job, error) {
	r, err := c.record(ctx, id)
	if err != nil {
		return transfer.Job{}, err // a record that cannot be read stays as it is
	}
	answer, r, err := c.move(ctx, cancelMove, id, moveArgs{now: r.at})
	if err := moveError(answer, err, id, "only jobs that have not ended can be canceled"); err != nil {
		return transfer.Job{}, err
	}
	return r.job(), nil
}

// CancelAll cancels all jobs in the given states, and returns how many. It does not count a job
// that ends meanwhile.
func (c *Client) CancelAll(ctx context.Context, states []transfer.State) (int, error) {
	n := 0
	err := c.eachPage(ctx, func(records []*record) (bool, error) {
		var ids []string
		for _, r := range records {
			if slices.Contains(states, r.state) {
				ids = append(ids, r.id)
			}
		}
		answers, err := c.moveAll(ctx, cancelMove, ids, moveArgs{})
		for _, answer := range answers {
			if answer == ok {
				n++
			}
		}
		return true, err
	})
	return n, err
}

// stopTimeout is how long Retry waits for a job that is being canceled. It is longer than a lease,
// so a dead worker does not use it up.
const stopTimeout = time.Minute

// awaitStopped waits for a job that has been canceled to stop.
func (c *Client) awaitStopped(ctx context.Context, id string) error {
	limited, cancel := context.WithTimeoutCause(ctx, stopTimeout, transfer.Errorf(transfer.CodeWaitTimeout,
		"its transferd may be away; try again later", "job %s has not stopped within %s", id, stopTimeout))
	defer cancel()
	for job, err := range c.Watch(limited, id) {
		if err != nil {
			return cmp.Or(context.Cause(limited), err)
		}
		if !job.Stopping {
			return nil
		}
	}
	return context.Cause(limited)
}

// Retry queues a job again that failed or was canceled. The job continues where it stopped, with a
// new deadline. Retry waits for a job that is being canceled. CodeInvalid: the job is in another
// state. CodeNotFound: there is none of that ID.
func (c *Client) Retry(ctx context.Context, id string) (transfer.Job, error) {
	return c.RetryWith(ctx, id, nil)
}

// RetryWith is Retry with other options: change, if not nil, changes the spec of the job. It must
// not change what the job's plan depends on: kind, source, target, name, size, format and chunk
// size.
func (c *Client) RetryWith(ctx context.Context, id string, change func(*transfer.Spec) error) (transfer.Job, error) {
	r, err := c.record(ctx, id)
	if err != nil {
		return transfer.Job{}, err
	}
	spec, err := changedSpec(r, change)
	if err != nil {
		return transfer.Job{}, err
	}
	if r.job().Stopping {
		if err := c.awaitStopped(ctx, id); err != nil {
			return transfer.Job{}, err
		}
	}
	return c.retry(ctx, r, &r.spec, spec)
}

// retry queues the job of a record again, with a spec that may differ from that of the record. text
// is the spec as JSON.
func (c *Client) retry(ctx context.Context, r *record, spec *transfer.Spec, text string) (transfer.Job, error) {
	id := r.id
	// First, so that maintenance finds the job even if this client ends in between.
	if err := c.schedule(ctx, keyQueued, pickupTimeout, id); err != nil {
		return transfer.Job{}, err
	}
	until := deadlineOf(spec, r.at)
	values := []string{"due", deadlineText(until), "spec", text}
	answer, r, err := c.move(ctx, retryMove, id, moveArgs{now: r.at, values: values})
	if err := moveError(answer, err, id, "only failed and canceled jobs can be retried"); err != nil {
		return transfer.Job{}, err
	}
	// Again, because maintenance may have dropped the entry while the job was ended.
	if err := c.addToIndex(ctx, r, ""); err != nil {
		return transfer.Job{}, err
	}
	return r.job(), c.wakeup.trigger(ctx, r)
}

// changedSpec is the spec of a job as its record has it, after change. It changes no spec with
// fields of a newer version, which it would lose.
func changedSpec(r *record, change func(*transfer.Spec) error) (text string, err error) {
	if change == nil {
		return r.text["spec"], nil
	}
	if err := r.checkFields(); err != nil {
		return "", err
	}
	if err := change(&r.spec); err != nil {
		return "", err
	}
	return mustJSON(r.spec), checkSecrets(&r.spec)
}

// moveError makes an error of an answer to a move: ok, or the state that forbids the move.
func moveError(answer string, err error, id, hint string) error {
	switch {
	case err != nil:
		return err
	case answer == string(none):
		return noSuchJob(id)
	case answer != ok:
		return transfer.Errorf(transfer.CodeInvalid, hint, "job %s is %s", id, answer)
	}
	return nil
}

// Ledger returns a job with its checkpoint: plan, progress, and the chunks that are done.
func (c *Client) Ledger(ctx context.Context, id string) (transfer.Job, transfer.Checkpoint, error) {
	r, err := c.record(ctx, id)
	if err != nil {
		return transfer.Job{}, transfer.Checkpoint{}, err
	}
	packed, err := c.rdb.Get(ctx, ledgerKey(id)).Bytes()
	if err != nil && err != redis.Nil { //nolint:errorlint // go-redis returns it bare
		return transfer.Job{}, transfer.Checkpoint{}, failed("read ledger of job "+id, err)
	}
	entries, err := r.parseLedger(packed)
	return r.job(), transfer.Checkpoint{Plan: r.plan, Progress: r.progress, Entries: entries}, err
}
