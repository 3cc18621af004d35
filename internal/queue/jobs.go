package queue

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/transferd/transferd/internal/transfer"
)

func (c *Client) record(ctx context.Context, id string) (*record, error) {
	h, err := c.rdb.HGetAll(ctx, recordKey(id)).Result()
	if err != nil {
		return nil, failed("look at job "+id, err)
	}
	return parseRecord(id, h)
}

// records looks at many jobs at once; those that are gone are left out.
func (c *Client) records(ctx context.Context, ids []string) ([]*record, error) {
	found := make([]*redis.MapStringStringCmd, len(ids))
	_, err := c.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, id := range ids {
			found[i] = p.HGetAll(ctx, recordKey(id))
		}
		return nil
	})
	if err != nil {
		return nil, failed("look at jobs", err)
	}
	var records []*record
	for i, id := range ids {
		r, err := parseRecord(id, found[i].Val())
		if transfer.CodeOf(err) == transfer.CodeNotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		records = append(records, r)
	}
	return records, nil
}

// Job is one job; CodeNotFound if there is none of that ID.
func (c *Client) Job(ctx context.Context, id string) (transfer.Job, error) {
	r, err := c.record(ctx, id)
	if err != nil {
		return transfer.Job{}, err
	}
	return r.job(), nil
}

// Filter chooses jobs.
type Filter struct {
	States []transfer.State // none: all
	Limit  int              // 0: all
}

// page is how many records are asked for in one round trip.
const page = 500

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

// eachPage goes through all jobs, the newest first, until do wants no more.
func (c *Client) eachPage(ctx context.Context, do func([]*record) (more bool, err error)) error {
	ids, err := c.rdb.ZRevRange(ctx, keyJobs, 0, -1).Result()
	if err != nil {
		return failed("list jobs", err)
	}
	for chunk := range slices.Chunk(ids, page) {
		records, err := c.records(ctx, chunk)
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

// Cancel ends a job that waits, and has a running one stop within a second or two. What was written stays.
func (c *Client) Cancel(ctx context.Context, id string) (transfer.Job, error) {
	answer, r, err := c.move(ctx, cancelMove, id, moveArgs{})
	if err := refused(answer, err, id, "only jobs that have not ended can be canceled"); err != nil {
		return transfer.Job{}, err
	}
	return r.job(), nil
}

// CancelAll is Cancel of all jobs in the given states, and returns how many there were. One that ends meanwhile is not among
// them.
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

// Retry queues a job again that failed or was canceled; it goes on where it stopped.
func (c *Client) Retry(ctx context.Context, id string) (transfer.Job, error) {
	r, err := c.record(ctx, id)
	if err != nil {
		return transfer.Job{}, err
	}
	// Before, so that a job that waits is found even if this client ends in the middle.
	if err := c.schedule(ctx, keyQueued, pickUp, id); err != nil {
		return transfer.Job{}, err
	}
	until := due(&r.spec)
	answer, r, err := c.move(ctx, retryMove, id, moveArgs{values: []string{"due", dueText(until)}})
	if err := refused(answer, err, id, "only failed and canceled jobs can be retried"); err != nil {
		return transfer.Job{}, err
	}
	// Again, for maintenance may have dropped what was an ended job's entry meanwhile.
	if err := c.addToIndex(ctx, r); err != nil {
		return transfer.Job{}, err
	}
	return r.job(), c.wakeup.trigger(ctx, r)
}

// refused makes an error of an answer to a move: ok, or the state that forbids the move.
func refused(answer string, err error, id, hint string) error {
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

// PruneOptions choose jobs to forget.
type PruneOptions struct {
	OlderThan time.Duration    // that ended this long ago, or longer
	States    []transfer.State // none: all that are terminal; others never are
}

// Prune forgets jobs that have ended and returns how many.
func (c *Client) Prune(ctx context.Context, o PruneOptions) (int, error) {
	cutoff, n := time.Now().Add(-o.OlderThan), 0
	err := c.eachPage(ctx, func(records []*record) (bool, error) {
		old := make(map[string]*record)
		for _, r := range records {
			chosen := len(o.States) == 0 || slices.Contains(o.States, r.state)
			if chosen && r.state.Terminal() && r.finished != nil && !r.finished.After(cutoff) {
				old[r.id] = r
			}
		}
		gone, err := c.forget(ctx, slices.Collect(maps.Keys(old)))
		if err != nil {
			return false, err
		}
		n += len(gone)
		return true, c.unclaim(ctx, gone, old)
	})
	return n, err
}

// unclaim forgets that jobs which are gone are the ones of their specs.
func (c *Client) unclaim(ctx context.Context, gone []string, records map[string]*record) error {
	if len(gone) == 0 {
		return nil
	}
	var claims []string
	for _, id := range gone {
		key, err := records[id].spec.Fingerprint()
		if err != nil {
			return err
		}
		claims = append(claims, key, id)
	}
	return failed("forget jobs", unclaimScript.Run(ctx, c.rdb, []string{keySpecs}, claims).Err())
}

// forget deletes jobs and returns those that are gone: not one that was retried after it was seen to have ended.
func (c *Client) forget(ctx context.Context, ids []string) (gone []string, err error) {
	answers, err := c.runAll(ctx, "forget jobs", forgetScript, ids)
	if err != nil {
		return nil, err
	}
	for i, id := range ids {
		if word, _ := answers[i].Text(); word == ok { // a failed one is the error of all
			gone = append(gone, id)
		}
	}
	if len(gone) == 0 {
		return nil, nil
	}
	return gone, c.removeFromIndex(ctx, gone)
}

// Ledger is what a job that has succeeded moved: its plan, and its chunks with their digests.
func (c *Client) Ledger(ctx context.Context, id string) (transfer.Job, transfer.Checkpoint, error) {
	r, err := c.record(ctx, id)
	if err != nil {
		return transfer.Job{}, transfer.Checkpoint{}, err
	}
	packed, err := c.rdb.Get(ctx, ledgerKey(id)).Bytes()
	if err != nil && err != redis.Nil { //nolint:errorlint // go-redis returns it bare
		return transfer.Job{}, transfer.Checkpoint{}, failed("read ledger of job "+id, err)
	}
	return r.job(), transfer.Checkpoint{Plan: r.plan, Progress: r.progress, Entries: transfer.ParseEntries(packed)}, nil
}

// Worker is a transferd that serves the queue.
type Worker struct {
	Name      string    `json:"name"`
	Queues    []string  `json:"queues"`
	Endpoints []string  `json:"endpoints"`
	Jobs      int       `json:"jobs"` // at once
	StartedAt time.Time `json:"started_at"`
}

// Workers lists who is there.
func (c *Client) Workers(ctx context.Context) ([]Worker, error) {
	names, err := c.rdb.SMembers(ctx, keyWorkers).Result()
	if err != nil {
		return nil, failed("list workers", err)
	}
	slices.Sort(names)
	var workers []Worker
	for _, name := range names {
		text, err := c.rdb.Get(ctx, workerKey(name)).Bytes()
		if err == redis.Nil { //nolint:errorlint // go-redis returns it bare
			continue // it ended without saying so
		}
		var w Worker
		if err == nil {
			err = json.Unmarshal(text, &w)
		}
		if err != nil {
			return nil, failed("look at worker "+name, err)
		}
		workers = append(workers, w)
	}
	return workers, nil
}
