package queue

import (
	"context"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/transfer"
)

// lostOwners finds jobs whose worker has died, by their leases, and wakes another one for each.
//
// It does not follow the renewals: an entry says when the lease would lapse as it was last looked at, and only then is it
// looked at again. A renewal moves the end of the lease on, so the look never comes too late.
type lostOwners struct {
	client *Client
	leader *leader
}

// Tick implements service.
func (l *lostOwners) Tick(ctx context.Context) error {
	if !l.leader.calm() {
		return nil
	}
	for {
		entries, err := l.client.due(ctx, keyRunning)
		if len(entries) == 0 || err != nil {
			return err
		}
		if err := l.check(ctx, entries); err != nil {
			return err
		}
		if len(entries) < page {
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
		case job.late(): // deadlines ends it
			*next = l.leader.timing.tick
		default:
			lost = append(lost, job.id)
			*next = l.leader.timing.recheck
		}
	}
	if err := l.replace(ctx, lost); err != nil {
		return err
	}
	if err := l.client.schedule(ctx, keyQueued, 0, queued...); err != nil {
		return err
	}
	return l.client.reschedule(ctx, keyRunning, entries)
}

// replace wakes workers for jobs that have lost theirs.
func (l *lostOwners) replace(ctx context.Context, lost []string) error {
	records, _, err := l.client.records(ctx, lost)
	if err != nil {
		return err
	}
	for _, r := range records {
		l.leader.log.Info("job has lost its worker", zap.String("job", r.id), zap.String("worker", r.worker))
	}
	_, err = l.client.triggerAll(ctx, records)
	return err
}
