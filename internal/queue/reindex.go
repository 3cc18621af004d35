package queue

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/transferd/transferd/internal/transfer"
)

// reindex restores the index of unfinished jobs from all records, when this server becomes the
// leader and every timing.reindex afterwards. A replica that became the primary may have lost
// entries, and the queue in memory keeps none over a restart.
type reindex struct {
	client  *Client
	leader  *leader
	term    time.Time // the leadership in which it last began
	last    time.Time // when it last began
	pending []string  // jobs that it has not read yet
}

// reindexPages is how many pages of jobs one tick reads. No other service runs meanwhile.
const reindexPages = 40

// Tick implements service.
func (r *reindex) Tick(ctx context.Context) error {
	if !r.term.Equal(r.leader.since) || time.Since(r.last) >= r.leader.timing.reindex {
		ids, err := r.client.rdb.ZRevRange(ctx, keyJobs, 0, -1).Result()
		if err != nil {
			return failed("list jobs", err)
		}
		r.term, r.last, r.pending = r.leader.since, time.Now(), ids
	}
	for range reindexPages {
		n := min(pageSize, len(r.pending))
		if n == 0 {
			return nil
		}
		if err := r.add(ctx, r.pending[:n]); err != nil {
			return err
		}
		r.pending = r.pending[n:]
	}
	return nil
}

// add makes those of the jobs that have not ended due for every service.
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
