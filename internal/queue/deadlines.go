package queue

import (
	"context"

	"github.com/transferd/transferd/internal/transfer"
)

// deadlines ends a job whose deadline passes while it waits, or after its worker has died, because
// there may be no other worker. The worker of a running job ends it.
type deadlines struct {
	client *Client
	leader *leader
}

// Tick implements service.
func (d *deadlines) Tick(ctx context.Context) error {
	for {
		entries, err := d.client.dueEntries(ctx, keyDeadlines)
		if len(entries) == 0 || err != nil {
			return err
		}
		if err := d.check(ctx, entries); err != nil {
			return err
		}
		if len(entries) < pageSize {
			return nil
		}
	}
}

func (d *deadlines) check(ctx context.Context, entries []entry) error {
	jobs, err := d.client.statuses(ctx, idsOf(entries))
	if err != nil {
		return err
	}
	soon := d.leader.timing.tick
	var overdue []string
	for i, job := range jobs {
		next := &entries[i].next
		switch {
		case job.state != transfer.Queued && job.state != transfer.Running || job.due == nil:
		case !job.overdue(): // it was retried
			*next = max(soon, job.due.Sub(job.now))
		case job.owes: // the next worker ends it
			*next = soon
		case job.state == transfer.Queued:
			overdue = append(overdue, job.id)
			*next = soon // a worker may be starting it now
		default:
			if job.lease == 0 && d.leader.pastGrace() {
				overdue = append(overdue, job.id)
			}
			*next = max(soon, job.lease)
		}
	}
	if err := d.expire(ctx, overdue); err != nil {
		return err
	}
	return d.client.reschedule(ctx, keyDeadlines, entries)
}

// expire ends jobs. It skips those whose records cannot be read.
func (d *deadlines) expire(ctx context.Context, overdue []string) error {
	records, _, err := d.client.records(ctx, overdue)
	if err != nil {
		return err
	}
	ids := make([]string, len(records))
	for i, r := range records {
		ids[i] = r.id
	}
	_, err = d.client.moveAll(ctx, expireMove, ids, moveArgs{})
	return err
}
