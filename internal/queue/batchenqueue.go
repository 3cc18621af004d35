package queue

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/transfer"
)

// EnqueueBatch enqueues the items of a batch that are not enqueued yet, until the batch is paused
// or canceled. It is idempotent, and several may do it at the same time.
func (c *Client) EnqueueBatch(ctx context.Context, id string) error {
	for {
		r, err := c.batchRecord(ctx, id)
		if err != nil {
			return err
		}
		if r.state != batchOpen || r.enqueued >= r.items {
			return failed("index batch "+id, c.rdb.ZRem(ctx, keyOpenBatches, id).Err())
		}
		end := min(r.enqueued+batchPage, r.items)
		if err := c.schedule(ctx, keyOpenBatches, batchCheck, id); err != nil {
			return err
		}
		entries, err := c.items(ctx, id, r.enqueued, end)
		if err != nil {
			return err
		}
		if err := c.enqueuePage(ctx, id, r.enqueued, entries); err != nil {
			return err
		}
		state, err := c.runBatch(ctx, "enqueue", batchCursorScript, id, end)
		if err != nil {
			return err
		}
		if state == string(batchCanceled) { // meanwhile: its canceling has not seen these jobs
			return c.cancelEntries(ctx, entries)
		}
	}
}

// enqueuePage enqueues the jobs of items, which have the numbers from first on.
func (c *Client) enqueuePage(ctx context.Context, id string, first int, entries []transfer.BatchEntry) error {
	if err := c.reserveItems(ctx, id, first, entries); err != nil {
		return err
	}
	now, err := c.now(ctx)
	if err != nil {
		return err
	}
	var records []*record
	var retries []*transfer.BatchEntry
	for i := range entries {
		e := &entries[i]
		switch {
		case e.Spec == nil || e.Attached:
		case e.Retry:
			retries = append(retries, e)
		default:
			records = append(records, &record{
				id: e.Item.Job, spec: *e.Spec, state: transfer.Queued, at: now, created: now,
				due: deadlineOf(e.Spec, now),
			})
		}
	}
	if err := c.createAll(ctx, records); err != nil {
		return err
	}
	return each(ctx, len(retries), atOnce, func(ctx context.Context, i int) error {
		e := retries[i]
		_, err := c.RetryWith(ctx, e.Item.Job, func(spec *transfer.Spec) error { *spec = *e.Spec; return nil })
		if transfer.CodeOf(err) == transfer.CodeInvalid {
			return nil // another one has done it
		}
		return err
	})
}

// reserveItems makes the jobs the last ones of their items. An item that another batch has begun
// meanwhile gets that batch's job.
func (c *Client) reserveItems(ctx context.Context, id string, first int, entries []transfer.BatchEntry) error {
	var args []any
	var chosen []int
	for i := range entries {
		if e := &entries[i]; e.Spec != nil {
			args, chosen = append(args, e.Key, e.Replaces, e.Item.Job), append(chosen, i)
		}
	}
	if len(chosen) == 0 {
		return nil
	}
	others, err := reserveItemsScript.Run(ctx, c.rdb, []string{keyItems}, args...).StringSlice()
	if err != nil {
		return failed("find the last jobs of items", err)
	}
	var taken []string
	for _, other := range others {
		if other != "" {
			taken = append(taken, other)
		}
	}
	if len(taken) == 0 {
		return nil
	}
	live, err := c.liveJobs(ctx, taken)
	if err != nil {
		return err
	}
	again := make([]any, 0, len(args))
	for n, i := range chosen {
		e := &entries[i]
		switch {
		case others[n] == "" || e.Attached:
		case live[others[n]]:
			e.Item.Job, e.Attached = others[n], true
			if err := c.setItems(ctx, id, first+i, entries[i:i+1]); err != nil {
				return err
			}
		default:
			again = append(again, e.Key, others[n], e.Item.Job)
		}
	}
	if len(again) == 0 {
		return nil
	}
	return failed("replace the last jobs of items",
		reserveItemsScript.Run(ctx, c.rdb, []string{keyItems}, again...).Err())
}

// liveJobs returns which of the jobs have not ended. It waits for jobs without a record, which
// their batch may be about to make.
func (c *Client) liveJobs(ctx context.Context, ids []string) (map[string]bool, error) {
	for began := time.Now(); ; {
		states, err := c.statuses(ctx, ids)
		if err != nil {
			return nil, err
		}
		live, missing := make(map[string]bool), false
		for _, s := range states {
			live[s.id] = s.state == transfer.Queued || s.state == transfer.Running
			missing = missing || s.state == none
		}
		if !missing || time.Since(began) > reserveTimeout {
			return live, nil
		}
		if err := sleep(ctx, reservePause); err != nil {
			return nil, err
		}
	}
}

// thisRedisScript answers the run_id of this Redis.
var thisRedisScript = newScript(thisRedis + `
return (thisRedis())
`)

// createAll records many jobs in a few round trips, and makes their triggers.
func (c *Client) createAll(ctx context.Context, records []*record) error {
	if len(records) == 0 {
		return nil
	}
	if err := c.addAllToIndex(ctx, records); err != nil {
		return err
	}
	ids := make([]string, len(records))
	for i, r := range records {
		ids[i] = r.id
	}
	var known []string
	if _, single := c.rdb.(*redis.Client); single { // in a cluster the records are on several Redis
		run, err := thisRedisScript.Run(ctx, c.rdb, nil).Text()
		if err != nil {
			return failed("create jobs", err)
		}
		known = []string{"redis", run}
	}
	_, err := c.runEach(ctx, "create jobs", moveScript, ids, func(i int) []any {
		r := records[i]
		return createMove.args(&moveArgs{now: r.created, values: append([]string{
			"spec", mustJSON(r.spec), "created", strconv.FormatInt(r.created.UnixMilli(), 10),
			"due", deadlineText(r.due),
		}, known...)}, false)
	})
	if err != nil {
		return err
	}
	wakeup := c.wakeup.grouped()
	return each(ctx, len(records), len(records), func(ctx context.Context, i int) error {
		queue, task := taskOf(records[i])
		_, err := wakeup.push(ctx, records[i], queue, task)
		return err // maintenance makes a trigger that is lost
	})
}

// addAllToIndex is addToIndex for many jobs.
func (c *Client) addAllToIndex(ctx context.Context, records []*record) error {
	jobs := make([]redis.Z, len(records))
	var due []redis.Z
	scheduled, specs := []any{pickupTimeout.Milliseconds()}, make([]string, len(records))
	for i, r := range records {
		jobs[i] = redis.Z{Score: float64(r.created.UnixMilli()), Member: r.id}
		scheduled = append(scheduled, r.id)
		if r.due != nil {
			due = append(due, redis.Z{Score: float64(r.due.UnixMilli()), Member: r.id})
		}
		var err error
		if specs[i], err = slotOf(&r.spec); err != nil {
			return err
		}
	}
	return failed("index jobs", c.pipelined(ctx, func(p pipeline) {
		for i, r := range records {
			p.run(reserveScript, []string{keySpecs}, specs[i], anyJob, r.id)
		}
		p.ZAdd(ctx, keyJobs, jobs...)
		p.run(scheduleScript, []string{keyQueued}, scheduled...)
		if len(due) > 0 {
			p.ZAdd(ctx, keyDeadlines, due...)
		}
	}))
}

// atOnce is how many calls to Redis are made at the same time.
const atOnce = 16

// each calls do for the numbers below n, some of them at the same time, until one fails.
func each(ctx context.Context, n, atOnce int, do func(ctx context.Context, i int) error) error {
	g, ctx := panics.WithContext(ctx)
	g.SetLimit(atOnce)
	for i := range n {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return do(ctx, i)
		})
	}
	return g.Wait()
}

// cancelEntries cancels the jobs of items, except those of other batches.
func (c *Client) cancelEntries(ctx context.Context, entries []transfer.BatchEntry) error {
	for first := 0; first < len(entries); first += pageSize {
		var ids []string
		for i := first; i < min(first+pageSize, len(entries)); i++ {
			if e := &entries[i]; e.Spec != nil && !e.Attached {
				ids = append(ids, e.Item.Job)
			}
		}
		if _, err := c.moveAll(ctx, cancelMove, ids, moveArgs{}); err != nil {
			return err
		}
	}
	return nil
}
