package queue

import (
	"context"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/transfer"
)

// lostOwners finds running jobs whose leases have lapsed, and makes a trigger for each.
//
// It does not follow renewals. An entry is due when the lease would lapse without any renewal since
// the last check. Renewals only move the lapse later, so no check is too late.
type lostOwners struct {
	client *Client
	leader *leader
}

// Tick implements service.
func (l *lostOwners) Tick(ctx context.Context) error {
	if !l.leader.pastGrace() {
		return nil
	}
	for {
		entries, err := l.client.dueEntries(ctx, keyRunning)
		if len(entries) == 0 || err != nil {
			return err
		}
		if err := l.check(ctx, entries); err != nil {
			return err
		}
		if len(entries) < pageSize {
			return nil
		}
	}
}

func (l *lostOwners) check(ctx context.Context, entries []entry) error {
	jobs, err := l.client.statuses(ctx, idsOf(entries))
	if err != nil {
		return err
	}
	var lost, queued []string
	for i, job := range jobs {
		next := &entries[i].next
		switch {
		case job.state == transfer.Queued:
			queued = append(queued, job.id)
		case job.state != transfer.Running:
		case job.lease > 0:
			*next = job.lease
		case job.overdue() && !job.owes: // deadlines ends it
			*next = l.leader.timing.tick
		default:
			lost = append(lost, job.id)
			*next = l.leader.timing.recheck
		}
	}
	if err := l.trigger(ctx, lost); err != nil {
		return err
	}
	if err := l.client.schedule(ctx, keyQueued, 0, queued...); err != nil {
		return err
	}
	return l.client.reschedule(ctx, keyRunning, entries)
}

// trigger makes triggers for jobs that have lost their workers.
func (l *lostOwners) trigger(ctx context.Context, lost []string) error {
	records, _, err := l.client.records(ctx, lost)
	if err != nil {
		return err
	}
	for _, r := range records {
		l.leader.log.Info("worker lost", zap.String("job", r.id), zap.String("worker", r.worker))
	}
	_, err = l.client.triggerAll(ctx, records)
	return err
}

// Lost returns the running jobs that no worker owns. If a transferd runs, its maintenance makes a
// trigger for each.
func (c *Client) Lost(ctx context.Context) (lost []transfer.Job, err error) {
	err = c.eachPage(ctx, func(records []*record) (bool, error) {
		var ids []string
		running := make(map[string]*record)
		for _, r := range records {
			if r.state == transfer.Running {
				ids, running[r.id] = append(ids, r.id), r
			}
		}
		jobs, err := c.statuses(ctx, ids)
		if err != nil {
			return false, err
		}
		for _, job := range jobs {
			if job.state == transfer.Running && job.lease == 0 {
				lost = append(lost, running[job.id].job())
			}
		}
		return true, nil
	})
	return lost, err
}
