package queue

import (
	"context"

	"github.com/transferd/transferd/internal/transfer"
)

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
