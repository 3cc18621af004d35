package queue

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// PruneOptions select jobs to delete.
type PruneOptions struct {
	OlderThan time.Duration    // since the job ended, at least
	States    []transfer.State // none: all terminal states; jobs in other states are never deleted
	// Left, if set, is called with each deleted job that leaves an incomplete drive.
	Left func(transfer.Job)
}

// Prune deletes jobs that have ended, with their ledgers, and returns how many it deleted. It also
// deletes the batches whose jobs are all deleted.
func (c *Client) Prune(ctx context.Context, o PruneOptions) (int, error) {
	now, err := c.now(ctx)
	if err != nil {
		return 0, err
	}
	cutoff, n := now.Add(-o.OlderThan), 0
	err = c.eachPage(ctx, func(records []*record) (bool, error) {
		old := make(map[string]*record)
		for _, r := range records {
			chosen := len(o.States) == 0 || slices.Contains(o.States, r.state)
			if chosen && r.state.Terminal() && r.finished != nil && !r.finished.After(cutoff) {
				old[r.id] = r
			}
		}
		if err := c.recordLeftovers(ctx, old); err != nil {
			return false, err
		}
		if err := c.recordOutcomes(ctx, old); err != nil {
			return false, err
		}
		gone, err := c.deleteEnded(ctx, slices.Collect(maps.Keys(old)))
		if err != nil {
			return false, err
		}
		n += len(gone)
		for _, id := range gone {
			if job := old[id].job(); job.DriveLeft && o.Left != nil {
				o.Left(job)
			}
		}
		return true, c.unreserve(ctx, gone, old)
	})
	if err != nil {
		return n, err
	}
	return n, c.pruneBatches(ctx, cutoff)
}

// recordLeftovers records, before jobs are deleted, which of them leave drives. Without that these
// drives could not be distinguished from those of another queue's jobs.
func (c *Client) recordLeftovers(ctx context.Context, jobs map[string]*record) error {
	var left []any
	for id, r := range jobs {
		if job := r.job(); job.DriveLeft {
			left = append(left, id)
		}
	}
	if len(left) == 0 {
		return nil
	}
	return failed("record the drives that jobs leave", c.rdb.SAdd(ctx, keyLeft, left...).Err())
}

// unreserve removes deleted jobs from the last jobs of their specs.
func (c *Client) unreserve(ctx context.Context, gone []string, records map[string]*record) error {
	if len(gone) == 0 {
		return nil
	}
	var pairs []string
	for _, id := range gone {
		key, err := slotOf(&records[id].spec)
		if err != nil {
			return err
		}
		pairs = append(pairs, key, id)
	}
	return failed("delete jobs", unreserveScript.Run(ctx, c.rdb, []string{keySpecs}, pairs).Err())
}

// deleteEnded deletes jobs that have ended and returns the deleted ones. It keeps a job that was
// retried meanwhile.
func (c *Client) deleteEnded(ctx context.Context, ids []string) (gone []string, err error) {
	answers, err := c.runAll(ctx, "delete jobs", deleteScript, ids)
	if err != nil {
		return nil, err
	}
	for i, id := range ids {
		if word, _ := answers[i].Text(); word == ok {
			gone = append(gone, id)
		}
	}
	if len(gone) == 0 {
		return nil, nil
	}
	return gone, c.removeFromIndex(ctx, gone)
}
