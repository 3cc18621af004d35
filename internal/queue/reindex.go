package queue

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/transferd/transferd/internal/transfer"
)

// reindex makes the index of unfinished jobs again from all records, when this server becomes the leader and now and then
// afterwards: a replica that became the primary may have lost entries, and the queue in memory keeps none.
type reindex struct {
	client *Client
	leader *leader
	term   time.Time // the leadership in which it last began
	last   time.Time // when
	left   []string  // jobs that it has not come to yet
}

// reindexPages is how many pages of jobs are read in one tick, and so for how long no other service runs.
const reindexPages = 40

// Tick implements service.
func (r *reindex) Tick(ctx context.Context) error {
	if !r.term.Equal(r.leader.since) || time.Since(r.last) >= r.leader.timing.reindex {
		ids, err := r.client.rdb.ZRevRange(ctx, keyJobs, 0, -1).Result()
		if err != nil {
			return failed("list jobs", err)
		}
		r.term, r.last, r.left = r.leader.since, time.Now(), ids
	}
	for range reindexPages {
		n := min(page, len(r.left))
		if n == 0 {
			return nil
		}
		if err := r.add(ctx, r.left[:n]); err != nil {
			return err
		}
		r.left = r.left[n:]
	}
	return nil
}

// add has every service look at those of the jobs that have not ended.
func (r *reindex) add(ctx context.Context, ids []string) error {
	jobs, err := r.client.statuses(ctx, ids)
	if err != nil {
		return err
	}
	var queued, running []string
	var due []redis.Z
	for _, job := range jobs {
		switch job.state {
		case transfer.Queued, none:
			queued = append(queued, job.id)
		case transfer.Running:
			running = append(running, job.id)
		default:
			continue
		}
		if job.due != nil {
			due = append(due, redis.Z{Score: float64(job.due.UnixMilli()), Member: job.id})
		}
	}
	if err := r.client.schedule(ctx, keyQueued, 0, queued...); err != nil {
		return err
	}
	if err := r.client.schedule(ctx, keyRunning, 0, running...); err != nil {
		return err
	}
	if len(due) == 0 {
		return nil
	}
	return failed("index jobs", r.client.rdb.ZAdd(ctx, keyDeadlines, due...).Err())
}
