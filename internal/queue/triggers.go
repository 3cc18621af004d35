package queue

import (
	"context"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/transferd/transferd/internal/transfer"
)

// triggers makes a trigger for each queued job that has none: asynq may have lost it, or the client
// may have ended before it made one.
type triggers struct {
	client *Client
	timing timing
}

// Tick implements service. It makes one or two pages of triggers at most, because each takes a
// round trip or more, and no other service runs meanwhile.
func (t *triggers) Tick(ctx context.Context) error {
	for made := 0; made < pageSize; {
		entries, err := t.client.dueEntries(ctx, keyQueued)
		if len(entries) == 0 || err != nil {
			return err
		}
		n, err := t.check(ctx, entries)
		if made += n; err != nil || len(entries) < pageSize {
			return err
		}
	}
	return nil
}

func (t *triggers) check(ctx context.Context, entries []entry) (made int, err error) {
	records, skipped, err := t.client.records(ctx, idsOf(entries))
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
		case slices.Contains(skipped, entries[i].id):
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

// triggerAll makes a trigger for each of the jobs, and returns how many it made. It skips a job
// whose trigger asynq or Redis refuses, for example because of its queue's name, and reports it to
// Warn.
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

// dangling is the age at which an entry without a record is dropped. The record of a younger entry
// may follow.
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
			return failed("read the index", err)
		}
		if now.Sub(time.UnixMilli(int64(score))) > dangling {
			if _, err := t.client.deleteEnded(ctx, []string{id}); err != nil {
				return err
			}
		}
	}
	return nil
}
