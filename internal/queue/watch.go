package queue

import (
	"context"
	"iter"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/transferd/transferd/internal/transfer"
)

const (
	// watchBlock is how long a watcher waits for an event before it reads the record without one.
	watchBlock = 3 * time.Second
	// watchTimeout is how long a watcher waits for a Redis that does not answer.
	watchTimeout = 2 * time.Minute
	watchPause   = 500 * time.Millisecond
)

// Watch yields the job now and after each change, until it has yielded a terminal state. It waits
// out outages of Redis of up to two minutes. It yields an error once, last.
func (c *Client) Watch(ctx context.Context, id string) iter.Seq2[transfer.Job, error] {
	return func(yield func(transfer.Job, error) bool) {
		last, outageSince := "", time.Time{}
		for {
			job, next, err := c.changed(ctx, id, last)
			switch {
			case err == nil:
				outageSince = time.Time{}
			case transfer.CodeOf(err) != transfer.CodeUnreachable || !pauseInOutage(ctx, &outageSince):
				yield(transfer.Job{}, err)
				return
			default:
				continue
			}
			if last = next; !yield(job, nil) || job.State.Terminal() {
				return
			}
		}
	}
}

// changed waits for an event after last. It returns the job and the newest event, which is not
// newer than the job. With last empty it returns at once. It reads the event before the record, so
// a change in between causes one more event.
func (c *Client) changed(ctx context.Context, id, last string) (transfer.Job, string, error) {
	if last != "" {
		args := redis.XReadArgs{Streams: []string{eventsKey(id), last}, Count: 1, Block: watchBlock}
		err := c.rdb.XRead(ctx, &args).Err()
		if err != nil && err != redis.Nil { //nolint:errorlint // go-redis returns it bare
			return transfer.Job{}, "", failed("watch job "+id, err)
		}
	}
	newest, err := c.rdb.XRevRangeN(ctx, eventsKey(id), "+", "-", 1).Result()
	if err != nil {
		return transfer.Job{}, "", failed("watch job "+id, err)
	}
	next := "0"
	if len(newest) > 0 {
		next = newest[0].ID
	}
	job, err := c.Job(ctx, id)
	return job, next, err
}

// pauseInOutage waits before the next try in an outage of Redis, which began at since. It returns
// false if ctx has ended or the outage has lasted for watchTimeout.
func pauseInOutage(ctx context.Context, since *time.Time) bool {
	if since.IsZero() {
		*since = time.Now()
	}
	if time.Since(*since) > watchTimeout {
		return false
	}
	select {
	case <-time.After(watchPause):
		return true
	case <-ctx.Done():
		return false
	}
}
