package queue

import (
	"context"
	"strings"

	"github.com/transferd/transferd/internal/transfer"
)

// maxMeasured is how many finished jobs an estimate is based on, the newest ones.
const maxMeasured = 20

// Estimate implements transfer.Batcher.
func (a *Attempt) Estimate(ctx context.Context, m *transfer.Migration) (transfer.Estimate, error) {
	e, err := a.client.Estimate(ctx, &a.Spec, m)
	return e, outage(err)
}

// Estimate derives how long a migration takes from finished jobs between the same endpoints. What was
// not measured is not known.
func (c *Client) Estimate(
	ctx context.Context, spec *transfer.Spec, m *transfer.Migration,
) (e transfer.Estimate, err error) {
	jobs, err := c.Jobs(ctx, Filter{})
	if err != nil {
		return e, err
	}
	var copied, cloned int64
	var copying, cloning, shutdown float64
	downs := 0
	for i := range jobs {
		j := &jobs[i]
		if !strings.HasPrefix(j.Source, spec.Source.Endpoint+":") {
			continue
		}
		if d := downtimeOf(j); d != nil && downs < maxMeasured {
			downs++
			cloned, cloning, shutdown = cloned+j.Migration.Size(), cloning+d.Clone, shutdown+d.Shutdown
		}
		copies := j.Kind == transfer.Clone && j.State == transfer.Succeeded && j.Endpoint == spec.Target.Endpoint
		if copies && j.Seconds > 0 && e.Jobs < maxMeasured {
			e.Jobs++
			copied, copying = copied+j.Bytes.Read, copying+j.Seconds
		}
	}
	size := float64(m.Size())
	if copied > 0 {
		e.Rate = float64(copied) / copying
		e.Seconds = new(float64)
		*e.Seconds = size / e.Rate
	}
	switch {
	case !m.Running:
		e.Downtime = new(float64)
	case downs > 0 && cloned > 0:
		e.Downtime = new(float64)
		*e.Downtime = shutdown/float64(downs) + cloning*size/float64(cloned)
	}
	return e, nil
}

// downtimeOf is what a migration has measured; nil: nothing.
func downtimeOf(j *transfer.Job) *transfer.Downtime {
	if j.Migration == nil {
		return nil
	}
	return j.Migration.Downtime
}
