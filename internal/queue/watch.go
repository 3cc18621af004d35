package queue

import (
	"context"
	"iter"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/transferd/transferd/internal/transfer"
)

const (
	// watchBlock is how long a watcher waits for an event before it reads the record anyway.
	watchBlock = 3 * time.Second
	// watchPatience is how long a watcher waits for a Redis that does not answer.
	watchPatience = 2 * time.Minute
	watchPause    = 500 * time.Millisecond
)

// Watch yields the job as it is, and again whenever it has changed, until it has yielded a terminal state. An outage of
// Redis shorter than two minutes goes unnoticed. An error is yielded once, last.
func (c *Client) Watch(ctx context.Context, id string) iter.Seq2[transfer.Job, error] {
	return func(yield func(transfer.Job, error) bool) {
		last, away := "", time.Time{}
		for {
			job, next, err := c.changed(ctx, id, last)
			switch {
			case err == nil:
				away = time.Time{}
			case transfer.CodeOf(err) != transfer.CodeUnreachable || !outlast(ctx, &away):
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

// changed waits for an event after last and returns the job and the event it is at least as new as. With last empty it
// returns at once. The event is read before the record: a change in between wakes the watcher once more.
func (c *Client) changed(ctx context.Context, id, last string) (transfer.Job, string, error) {
	if last != "" {
		err := c.rdb.XRead(ctx, &redis.XReadArgs{Streams: []string{eventsKey(id), last}, Count: 1, Block: watchBlock}).Err()
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

// outlast pauses while Redis is away, and reports false when that has gone on for too long.
func outlast(ctx context.Context, since *time.Time) bool {
	if since.IsZero() {
		*since = time.Now()
	}
	if time.Since(*since) > watchPatience {
		return false
	}
	select {
	case <-time.After(watchPause):
		return true
	case <-ctx.Done():
		return false
	}
}
