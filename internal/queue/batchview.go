package queue

import (
	"context"
	"encoding/json"
	"iter"
	"slices"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// batchView is a batch with the states of its jobs. A refresh reads only the states of jobs that
// had not ended, and the records of those that run or have changed. It is not safe for concurrent
// use.
type batchView struct {
	client  *Client
	record  batchRecord
	entries []transfer.BatchEntry
	batch   transfer.Batch
	byJob   map[string]int // items by their jobs
	// stopping is the items whose jobs run and have been canceled.
	stopping map[int]bool
	pruned   map[int]bool // items whose jobs have no record any more
}

func (c *Client) batchView(ctx context.Context, id string) (*batchView, error) {
	v := newBatchView(c, id)
	return v, v.refresh(ctx)
}

func newBatchView(c *Client, id string) *batchView {
	v := &batchView{
		client: c, byJob: make(map[string]int), stopping: make(map[int]bool), pruned: make(map[int]bool),
	}
	v.record.id = id
	return v
}

// refresh reads what has changed.
func (v *batchView) refresh(ctx context.Context) error {
	r, err := v.client.batchRecord(ctx, v.record.id)
	if err != nil {
		return err
	}
	if err := v.readItems(ctx, &r); err != nil {
		return err
	}
	v.record = r
	var open []string
	for i := range v.entries {
		if s := v.batch.Items[i].State; !s.Terminal() && s != transfer.Skipped {
			open = append(open, v.entries[i].Item.Job)
		}
	}
	for page := range slices.Chunk(open, pageSize) {
		if err := v.follow(ctx, page); err != nil {
			return err
		}
	}
	for i := range v.entries {
		if item := &v.batch.Items[i]; r.state == batchCanceled && v.entries[i].Attached && !item.State.Terminal() {
			item.State = transfer.Canceled // the job goes on for the other batch
		}
	}
	v.batch.Count(r.state == batchCanceled, r.state == batchPaused)
	return nil
}

// readItems reads the items that it has not read, and again those that were enqueued since: they
// may have got the jobs of another batch.
func (v *batchView) readItems(ctx context.Context, r *batchRecord) error {
	first := len(v.entries)
	if first == r.items {
		first = v.record.enqueued
		if first == r.enqueued {
			return nil
		}
	}
	entries, err := v.client.items(ctx, r.id, first, r.items)
	if err != nil {
		return err
	}
	v.entries = append(v.entries[:first], entries...)
	v.batch.ID, v.batch.Plan, v.batch.CreatedAt = r.id, r.plan, r.created
	for i := first; i < len(v.entries); i++ {
		v.batch.Items = append(v.batch.Items[:i], v.entries[i].Item)
		if v.entries[i].Spec != nil {
			v.byJob[v.entries[i].Item.Job] = i
		}
	}
	return nil
}

// follow reads the states of jobs, and the records of those that have changed or run.
func (v *batchView) follow(ctx context.Context, ids []string) error {
	states, err := v.client.statuses(ctx, ids)
	if err != nil {
		return err
	}
	var changed, missing []string
	for _, s := range states {
		switch {
		case s.state == none:
			missing = append(missing, s.id)
		case s.state == transfer.Running || s.state != v.batch.Items[v.byJob[s.id]].State:
			changed = append(changed, s.id)
		}
	}
	records, _, err := v.client.records(ctx, changed)
	if err != nil {
		return err
	}
	for _, r := range records {
		job, i := r.job(), v.byJob[r.id]
		v.batch.Items[i].Follow(&job)
		v.stopping[i] = job.Stopping
	}
	return v.followMissing(ctx, missing)
}

// followMissing sets the states of items whose jobs have no record: they are not enqueued yet, or
// were pruned.
func (v *batchView) followMissing(ctx context.Context, ids []string) error {
	ended, err := v.client.outcomes(ctx, v.record.id, ids)
	if err != nil {
		return err
	}
	for _, id := range ids {
		i := v.byJob[id]
		item := &v.batch.Items[i]
		outcome, known := ended[id]
		v.pruned[i] = known || i < v.record.enqueued
		switch {
		case known:
			item.State, item.Drive, item.Size, item.Bytes = outcome.State, outcome.Drive, outcome.Size, outcome.Bytes
			item.Seconds, item.Error = outcome.Seconds, outcome.Error
		case v.record.state == batchCanceled:
			item.State = transfer.Canceled
		case i < v.record.enqueued:
			item.State = transfer.Failed
			item.Error = transfer.FailureOf(transfer.Errorf(transfer.CodeNotFound,
				"run the plan again; it does what is not done", "the record of job %s was pruned", id))
		}
	}
	return nil
}

// Batch returns a batch. CodeNotFound: there is none of that ID.
func (c *Client) Batch(ctx context.Context, id string) (transfer.Batch, error) {
	v, err := c.batchView(ctx, id)
	if err != nil {
		return transfer.Batch{}, err
	}
	return v.batch, nil
}

// BatchSummary is a batch in a list, without its items.
type BatchSummary struct {
	ID        string               `json:"id"`
	Plan      string               `json:"plan"`
	State     transfer.BatchState  `json:"state"`
	CreatedAt time.Time            `json:"created_at"`
	AsOf      time.Time            `json:"-"` // when it was read, by Redis' clock
	Totals    transfer.BatchTotals `json:"totals"`
}

// Batches lists batches, the newest first; limit 0: all. The result of a batch that has ended is
// recorded, so that later lists need not read its jobs.
func (c *Client) Batches(ctx context.Context, limit int) ([]BatchSummary, error) {
	ids, err := c.rdb.ZRevRange(ctx, keyBatches, 0, int64(limit)-1).Result()
	if err != nil {
		return nil, failed("list batches", err)
	}
	now, err := c.now(ctx)
	if err != nil {
		return nil, err
	}
	var list []BatchSummary
	for _, id := range ids {
		s, err := c.summary(ctx, id)
		switch {
		case transfer.CodeOf(err) == transfer.CodeNotFound: // it is being created
		case err != nil:
			return nil, err
		default:
			s.AsOf = now
			list = append(list, s)
		}
	}
	return list, nil
}

func (c *Client) summary(ctx context.Context, id string) (s BatchSummary, err error) {
	r, err := c.batchRecord(ctx, id)
	if err != nil {
		return s, err
	}
	if r.final != "" && json.Unmarshal([]byte(r.final), &s) == nil {
		return s, nil
	}
	v, err := c.batchView(ctx, id)
	if err != nil {
		return s, err
	}
	b := &v.batch
	s = BatchSummary{ID: b.ID, Plan: b.Plan, State: b.State, CreatedAt: b.CreatedAt, Totals: b.Totals}
	if b.State == transfer.BatchSucceeded {
		_, err = c.runBatch(ctx, "record the result of", batchOutcomeScript, id, "final", mustJSON(&s))
	}
	return s, err
}

const (
	// batchWatch is how often a watcher reads the states of a batch's jobs, and batchWatchLarge for
	// a batch with more than batchLarge items, which takes longer.
	batchWatch      = time.Second
	batchWatchLarge = 3 * time.Second
	batchLarge      = 1000
)

// WatchBatch yields the batch now and every second or so, until it has yielded one that has ended.
// What it yields is valid until the next one. It waits out outages of Redis of up to two minutes.
// It yields an error once, last.
func (c *Client) WatchBatch(ctx context.Context, id string) iter.Seq2[*transfer.Batch, error] {
	return func(yield func(*transfer.Batch, error) bool) {
		v := newBatchView(c, id)
		outageSince := time.Time{}
		for {
			err := v.refresh(ctx)
			switch {
			case err == nil:
				outageSince = time.Time{}
				if !yield(&v.batch, nil) || v.batch.State.Ended() {
					return
				}
			case transfer.CodeOf(err) != transfer.CodeUnreachable || !pauseInOutage(ctx, &outageSince):
				yield(nil, err)
				return
			}
			every := batchWatch
			if len(v.entries) > batchLarge {
				every = batchWatchLarge
			}
			if err := sleep(ctx, every); err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

// PauseBatch enqueues no further items of a batch. Jobs that are enqueued go on.
func (c *Client) PauseBatch(ctx context.Context, id string) error {
	return c.moveBatch(ctx, &pauseBatch, id)
}

// ResumeBatch enqueues the items that PauseBatch has held back.
func (c *Client) ResumeBatch(ctx context.Context, id string) error {
	if err := c.moveBatch(ctx, &resumeBatch, id); err != nil {
		return err
	}
	return c.continueBatch(ctx, id)
}

// continueBatch enqueues the rest of a batch; if the client dies, maintenance does.
func (c *Client) continueBatch(ctx context.Context, id string) error {
	if err := c.schedule(ctx, keyOpenBatches, batchCheck, id); err != nil {
		return err
	}
	return c.EnqueueBatch(ctx, id)
}

// CancelBatch enqueues no further items of a batch, and cancels its jobs. Those that another batch
// has begun go on.
func (c *Client) CancelBatch(ctx context.Context, id string) error {
	if err := c.moveBatch(ctx, &cancelBatch, id); err != nil {
		return err
	}
	r, err := c.batchRecord(ctx, id)
	if err != nil {
		return err
	}
	entries, err := c.items(ctx, id, 0, r.items)
	if err != nil {
		return err
	}
	return c.cancelEntries(ctx, entries)
}

// RetryBatch queues the jobs of a batch again that failed or were canceled, and enqueues the items
// that were not. It waits for jobs that are being canceled, and leaves out those that were pruned.
// change, if not nil, changes their specs, as in RetryWith. It returns how many items it has begun
// again.
func (c *Client) RetryBatch(ctx context.Context, id string, change func(*transfer.Spec) error) (n int, err error) {
	v, err := c.batchView(ctx, id)
	if err != nil {
		return 0, err
	}
	rest := v.entries[v.record.enqueued:]
	for i := range rest {
		if rest[i].Spec == nil || rest[i].Attached {
			continue
		}
		if n++; change != nil {
			if err := change(rest[i].Spec); err != nil {
				return 0, err
			}
		}
	}
	if err := c.setItems(ctx, id, v.record.enqueued, rest); err != nil {
		return 0, err
	}
	if err := c.moveBatch(ctx, &retryBatch, id); err != nil {
		return 0, err
	}
	var ids []string
	for i := range v.entries[:v.record.enqueued] {
		s := v.batch.Items[i].State
		if !v.pruned[i] && (s == transfer.Failed || s == transfer.Canceled || v.stopping[i]) {
			ids = append(ids, v.entries[i].Item.Job)
		}
	}
	err = each(ctx, len(ids), atOnce, func(ctx context.Context, i int) error {
		_, err := c.RetryWith(ctx, ids[i], change)
		if transfer.CodeOf(err) == transfer.CodeInvalid && change == nil {
			return nil // another one has done it
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	return n + len(ids), c.continueBatch(ctx, id)
}
