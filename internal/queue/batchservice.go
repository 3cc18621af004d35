package queue

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/transferd/transferd/internal/transfer"
)

// batches enqueues the items of batches whose client has ended before it did.
type batches struct{ client *Client }

// Tick implements service.
func (b *batches) Tick(ctx context.Context) error {
	entries, err := b.client.dueEntries(ctx, keyOpenBatches)
	for i := range entries {
		err := b.client.EnqueueBatch(ctx, entries[i].id)
		switch {
		case transfer.CodeOf(err) == transfer.CodeNotFound: // its client has ended before it recorded the batch
			entries[i].next = 0
			if err := b.client.reschedule(ctx, keyOpenBatches, entries[i:i+1]); err != nil {
				return err
			}
		case errors.Is(err, errUnreadable):
			b.client.skip(entries[i].id, err)
		case err != nil:
			return err
		}
	}
	return err
}

// recordOutcomes records, before jobs are deleted, in their batches how they have ended.
func (c *Client) recordOutcomes(ctx context.Context, jobs map[string]*record) error {
	byBatch := make(map[string][]any)
	for id, r := range jobs {
		if r.spec.Batch != "" {
			job := r.job()
			var item transfer.BatchItem
			item.Follow(&job)
			byBatch[r.spec.Batch] = append(byBatch[r.spec.Batch], id, mustJSON(&item))
		}
	}
	for batch, outcomes := range byBatch {
		if _, err := c.runBatch(ctx, "record the jobs of", batchOutcomeScript, batch, outcomes...); err != nil {
			return err
		}
	}
	return nil
}

// outcomes reads how pruned jobs of a batch have ended.
func (c *Client) outcomes(ctx context.Context, batch string, jobs []string) (map[string]transfer.BatchItem, error) {
	found := make(map[string]transfer.BatchItem)
	if len(jobs) == 0 {
		return found, nil
	}
	texts, err := c.rdb.HMGet(ctx, batchKeys(batch)[2], jobs...).Result()
	if err != nil {
		return nil, failed("read batch "+batch, err)
	}
	for i, value := range texts {
		var item transfer.BatchItem
		if text, _ := value.(string); text != "" && json.Unmarshal([]byte(text), &item) == nil {
			found[jobs[i]] = item
		}
	}
	return found, nil
}

// pruneBatches deletes the batches that are older than cutoff and whose jobs are all deleted.
func (c *Client) pruneBatches(ctx context.Context, cutoff time.Time) error {
	ids, err := c.rdb.ZRange(ctx, keyBatches, 0, -1).Result()
	if err != nil {
		return failed("list batches", err)
	}
	for _, id := range ids {
		r, err := c.batchRecord(ctx, id)
		if err != nil || r.created.After(cutoff) {
			continue // being created, or unreadable: it stays as it is
		}
		if gone, err := c.jobsGone(ctx, &r); !gone || err != nil {
			if err != nil {
				return err
			}
			continue
		}
		if _, err := c.runBatch(ctx, "delete", batchDeleteScript, id); err != nil {
			return err
		}
		_, err = c.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			p.ZRem(ctx, keyBatches, id)
			p.ZRem(ctx, keyOpenBatches, id)
			return nil
		})
		if err != nil {
			return failed("delete batch "+id, err)
		}
	}
	return nil
}

// jobsGone reports whether no job of a batch exists, and none will.
func (c *Client) jobsGone(ctx context.Context, r *batchRecord) (bool, error) {
	if r.state != batchCanceled && r.enqueued < r.items {
		return false, nil
	}
	for first := 0; first < r.items; first += batchPage {
		entries, err := c.items(ctx, r.id, first, min(first+batchPage, r.items))
		if err != nil {
			return false, err
		}
		var ids []string
		for i := range entries {
			if entries[i].Spec != nil {
				ids = append(ids, entries[i].Item.Job)
			}
		}
		states, err := c.statuses(ctx, ids)
		if err != nil {
			return false, err
		}
		for _, s := range states {
			if s.state != none {
				return false, nil
			}
		}
	}
	return true, nil
}
