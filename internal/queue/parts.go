package queue

import (
	"context"

	"github.com/rs/xid"

	"github.com/transferd/transferd/internal/transfer"
)

var _ transfer.Batcher = (*Attempt)(nil)

// NewID implements transfer.Batcher.
func (a *Attempt) NewID() string { return xid.New().String() }

// EnqueuePart implements transfer.Batcher. The part is not found by its spec: only its ID counts.
func (a *Attempt) EnqueuePart(ctx context.Context, id string, spec transfer.Spec) error {
	_, err := a.client.enqueue(ctx, id, spec, "")
	return outage(err)
}

// Parts implements transfer.Batcher.
func (a *Attempt) Parts(ctx context.Context, ids []string) ([]transfer.Job, error) {
	records, _, err := a.client.records(ctx, ids)
	if err != nil {
		return nil, outage(err)
	}
	jobs := make([]transfer.Job, len(records))
	for i, r := range records {
		jobs[i] = r.job()
	}
	return jobs, nil
}

// CancelPart implements transfer.Batcher.
func (a *Attempt) CancelPart(ctx context.Context, id string) error {
	_, err := a.client.Cancel(ctx, id)
	switch transfer.CodeOf(err) {
	case transfer.CodeNotFound, transfer.CodeInvalid:
		return nil
	}
	return outage(err)
}
