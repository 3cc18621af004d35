package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/rs/xid"

	"github.com/transferd/transferd/internal/transfer"
)

// Enqueue records a job and has a worker look at it. When it returns, the job will run even if everything but Redis is
// lost.
func (c *Client) Enqueue(ctx context.Context, spec transfer.Spec) (transfer.Job, error) {
	if err := checkSecrets(&spec); err != nil {
		return transfer.Job{}, err
	}
	key, err := spec.Fingerprint()
	if err != nil {
		return transfer.Job{}, err
	}
	id := xid.New().String()
	if _, err := c.claim(ctx, key, anyJob, id); err != nil { // the same again is this one
		return transfer.Job{}, err
	}
	return c.enqueue(ctx, id, spec)
}

// checkSecrets refuses what the queue must not know.
func checkSecrets(spec *transfer.Spec) error {
	for _, r := range []transfer.Ref{spec.Source, spec.Target} {
		if r.HoldsUser() {
			return transfer.Errorf(transfer.CodeInvalid, "use a signed URL that expires, or --local, which keeps it in this process",
				"the address %s holds a password, and the queue keeps jobs in the clear", r.Redacted())
		}
	}
	return nil
}

const (
	// claimPatience is how long whoever claimed a spec may take to record its job before it counts as cut off.
	claimPatience = 5 * time.Second
	claimPause    = 20 * time.Millisecond
)

// EnqueueOnce is Enqueue, but a spec of which there is a job that has not ended, nor been told to, is that job; there says so. Of many who
// enqueue the same at once one makes the job.
func (c *Client) EnqueueOnce(ctx context.Context, spec transfer.Spec) (job transfer.Job, there bool, err error) {
	if err := checkSecrets(&spec); err != nil {
		return job, false, err
	}
	key, err := spec.Fingerprint()
	if err != nil {
		return job, false, err
	}
	id, ended, began := xid.New().String(), "", time.Now()
	for {
		other, err := c.claim(ctx, key, ended, id)
		if err != nil {
			return job, false, err
		}
		if other == "" {
			job, err = c.enqueue(ctx, id, spec)
			return job, false, err
		}
		r, err := c.record(ctx, other)
		switch {
		case transfer.CodeOf(err) == transfer.CodeNotFound:
			if time.Since(began) > claimPatience {
				ended = other
			} else if err := sleep(ctx, claimPause); err != nil {
				return job, false, err
			}
		case err != nil:
			return job, false, err
		case r.state.Terminal() || r.cancel:
			ended = other
		default:
			return r.job(), true, c.wakeup.trigger(ctx, r)
		}
	}
}

// anyJob may be replaced, whether it has ended or not.
const anyJob = "*"

// claim makes id the job of a spec, if none is or ended is. Otherwise it returns which one is.
func (c *Client) claim(ctx context.Context, fingerprint, ended, id string) (other string, err error) {
	other, err = claimScript.Run(ctx, c.rdb, []string{keySpecs}, fingerprint, ended, id).Text()
	return other, failed("look for the same job", err)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func (c *Client) enqueue(ctx context.Context, id string, spec transfer.Spec) (transfer.Job, error) {
	text, err := json.Marshal(spec)
	if err != nil {
		return transfer.Job{}, fmt.Errorf("encode spec: %w", err)
	}
	r := &record{id: id, spec: spec, state: transfer.Queued, created: time.Now().UTC().Truncate(time.Millisecond), due: due(&spec)}
	if err := c.addToIndex(ctx, r); err != nil {
		return transfer.Job{}, err
	}
	values := []string{"spec", string(text), "created", strconv.FormatInt(r.created.UnixMilli(), 10), "due", dueText(r.due)}
	// Another answer than ok is to a second try: the answer to the first was lost.
	if _, err := c.moveAll(ctx, createMove, []string{id}, moveArgs{values: values}); err != nil {
		return transfer.Job{}, err
	}
	return r.job(), c.wakeup.trigger(ctx, r)
}

// due is when a job that begins to wait now has to be done; nil: it need not.
func due(spec *transfer.Spec) *time.Time {
	if spec.Deadline == 0 {
		return nil
	}
	t := time.Now().Add(time.Duration(spec.Deadline)).UTC().Truncate(time.Millisecond)
	return &t
}

func dueText(t *time.Time) string {
	if t == nil {
		return ""
	}
	return fmt.Sprint(t.UnixMilli())
}
