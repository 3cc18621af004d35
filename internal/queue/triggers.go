package queue

import (
	"context"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/transferd/transferd/internal/transfer"
)

// triggers makes sure that each job that waits has a trigger: asynq may have lost it, or whoever enqueued the job may have
// ended before that.
type triggers struct {
	client *Client
	timing timing
}

// Tick implements service. It makes a page or two of triggers at the most, for each is a round trip or more, and meanwhile no
// other service runs.
func (t *triggers) Tick(ctx context.Context) error {
	for made := 0; made < page; {
		entries, err := t.client.due(ctx, keyQueued)
		if len(entries) == 0 || err != nil {
			return err
		}
		n, err := t.check(ctx, entries)
		if made += n; err != nil || len(entries) < page {
			return err
		}
	}
	return nil
}

func (t *triggers) check(ctx context.Context, entries []entry) (made int, err error) {
	records, unread, err := t.client.records(ctx, idsOf(entries))
	if err != nil {
		return 0, err
	}
	found := make(map[string]*record)
	for _, r := range records {
		found[r.id] = r
	}
	var queued []*record
	var running, missing []string
	for i := range entries {
		r := found[entries[i].id]
		switch {
		case slices.Contains(unread, entries[i].id):
			entries[i].next = t.timing.recheck
		case r == nil:
			missing = append(missing, entries[i].id)
			entries[i].next = dangling
		case r.state == transfer.Queued:
			queued = append(queued, r)
			entries[i].next = t.timing.recheck
		case r.state == transfer.Running:
			running = append(running, r.id)
		}
	}
	if made, err = t.trigger(ctx, queued); err != nil {
		return made, err
	}
	if err := t.client.schedule(ctx, keyRunning, 0, running...); err != nil {
		return made, err
	}
	if err := t.client.reschedule(ctx, keyQueued, entries); err != nil {
		return made, err
	}
	return made, t.dropDangling(ctx, missing)
}

func (t *triggers) trigger(ctx context.Context, queued []*record) (made int, err error) {
	without, err := t.client.wakeup.untriggered(ctx, queued)
	if err != nil {
		return 0, err
	}
	return t.client.triggerAll(ctx, without)
}

// triggerAll wakes a worker for each of the jobs, and returns the number. A job whose trigger asynq
// or Redis refuses, for example because of its queue's name, is reported to Warn and skipped.
func (c *Client) triggerAll(ctx context.Context, records []*record) (made int, err error) {
	for _, r := range records {
		err := c.wakeup.trigger(ctx, r)
		switch {
		case err == nil:
			made++
		case ctx.Err() == nil && transfer.CodeOf(err) == transfer.CodeFailed:
			c.skip(r.id, err)
		default:
			return made, err
		}
	}
	return made, nil
}

// dangling is how old an entry without a record must be to be dropped: a younger one may be about to get its record.
const dangling = time.Minute

func (t *triggers) dropDangling(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	now, err := t.client.now(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		score, err := t.client.rdb.ZScore(ctx, keyJobs, id).Result()
		if err != nil && err != redis.Nil { //nolint:errorlint // go-redis returns it bare
			return failed("look at the index", err)
		}
		if now.Sub(time.UnixMilli(int64(score))) > dangling {
			if _, err := t.client.forget(ctx, []string{id}); err != nil {
				return err
			}
		}
	}
	return nil
}
