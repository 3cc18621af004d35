package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/xid"

	"github.com/transferd/transferd/internal/transfer"
)

// Enqueue records a job and makes its trigger. After it has returned without an error, the job runs
// even if everything but Redis is lost. CodeInvalid: the spec holds a password. CodeNoSpace: Redis
// is full.
func (c *Client) Enqueue(ctx context.Context, spec transfer.Spec) (transfer.Job, error) {
	if err := checkSecrets(&spec); err != nil {
		return transfer.Job{}, err
	}
	key, err := slotOf(&spec)
	if err != nil {
		return transfer.Job{}, err
	}
	return c.enqueue(ctx, NewID(), spec, key)
}

// NewID returns the ID of a new job or batch. IDs are in the order of time.
func NewID() string { return xid.New().String() }

// checkSecrets refuses addresses with passwords.
func checkSecrets(spec *transfer.Spec) error {
	for _, r := range []transfer.Ref{spec.Source, spec.Target, {Path: spec.SHA256URL}} {
		if r.HoldsUser() {
			return transfer.Errorf(transfer.CodeInvalid,
				"use a signed URL that expires, or --local, which keeps the address in this process",
				"the address %s holds a password, and the queue stores jobs in the clear", r.Redacted())
		}
	}
	return nil
}

const (
	// reserveTimeout is how long a client that reserved a spec may take to record its job. After
	// that the client counts as dead.
	reserveTimeout = 5 * time.Second
	reservePause   = 20 * time.Millisecond
)

// EnqueueOnce is Enqueue unless a job of the same spec exists that has not ended and is not being
// canceled: then it returns that job, and exists is true. If many clients enqueue the same spec at
// once, one of them makes the job.
func (c *Client) EnqueueOnce(ctx context.Context, spec transfer.Spec) (job transfer.Job, exists bool, err error) {
	if err := checkSecrets(&spec); err != nil {
		return job, false, err
	}
	key, err := slotOf(&spec)
	if err != nil {
		return job, false, err
	}
	id, ended, began := NewID(), "", time.Now()
	for {
		other, err := c.reserve(ctx, key, ended, id)
		if err != nil {
			return job, false, err
		}
		if other == "" {
			job, err = c.enqueue(ctx, id, spec, "")
			return job, false, err
		}
		r, err := c.record(ctx, other)
		switch {
		case transfer.CodeOf(err) == transfer.CodeNotFound:
			if time.Since(began) > reserveTimeout {
				ended = other
			} else if err := sleep(ctx, reservePause); err != nil {
				return job, false, err
			}
		case errors.Is(err, errUnreadable):
			c.skip(other, err)
			ended = other // its state is unknown, and it must not block this job
		case err != nil:
			return job, false, err
		case replaceable(r, &spec):
			ended = other
		default:
			if job, again, err := c.join(ctx, r, &spec); !again {
				return job, err == nil, err
			}
		}
	}
}

// replaceable reports whether a new job of the spec takes the place of the last one.
func replaceable(r *record, spec *transfer.Spec) bool {
	if spec.Kind == transfer.Migrate && r.job().Stopping {
		return false // it may still undo what it has done
	}
	return !continues(r, spec) && (r.state.Terminal() || r.cancel)
}

// join returns the job of a record, which does what the spec asks for. It continues a migration that
// has ended without success. again says that the record has to be read again: it has changed.
func (c *Client) join(ctx context.Context, r *record, spec *transfer.Spec) (job transfer.Job, again bool, err error) {
	switch {
	case r.job().Stopping:
		err = c.awaitStopped(ctx, r.id)
		return job, err == nil, err
	case r.state.Terminal():
		job, err = c.retry(ctx, r, spec, mustJSON(spec))
		return job, transfer.CodeOf(err) == transfer.CodeInvalid, err // another client was faster
	}
	if err := r.sameMigration(spec); err != nil {
		return job, false, err
	}
	return r.job(), false, c.wakeup.trigger(ctx, r)
}

// slotOf is the key under which the last job of a spec is found. All migrations of a server have the
// same one, whatever else they are asked to do: a server has one migration at a time. A job of a
// batch has that of the same job alone.
func slotOf(spec *transfer.Spec) (string, error) {
	if spec.Kind == transfer.Migrate {
		spec = &transfer.Spec{Kind: spec.Kind, Source: spec.Source}
	}
	alone := *spec
	alone.Batch = ""
	return alone.Fingerprint()
}

// continues reports whether a migration that has ended without success is continued by one that is
// enqueued, because both have the same source and target.
func continues(r *record, spec *transfer.Spec) bool {
	ended := r.state == transfer.Failed || r.state == transfer.Canceled
	return ended && spec.Kind == transfer.Migrate && r.spec.Target == spec.Target
}

// sameMigration refuses a migration whose server another job moves with another spec: CodeConflict.
func (r *record) sameMigration(spec *transfer.Spec) error {
	if spec.Kind != transfer.Migrate {
		return nil
	}
	theirs, err := r.spec.Fingerprint()
	if err != nil {
		return err
	}
	ours, err := spec.Fingerprint()
	if err != nil || ours == theirs {
		return err
	}
	return transfer.Errorf(transfer.CodeConflict,
		"transferctl jobs watch "+r.id+" follows it; to change it, cancel it and run migrate again",
		"job %s, which is %s, moves server %s to %s with other flags",
		r.id, r.state, spec.Source.Redacted(), r.spec.Target.Redacted())
}

// anyJob as the job that reserveScript may replace means any job, ended or not.
const anyJob = "*"

// reserve makes id the last job of a spec if the spec has none, or if its last job is ended. Else
// it returns the last job.
func (c *Client) reserve(ctx context.Context, fingerprint, ended, id string) (other string, err error) {
	other, err = reserveScript.Run(ctx, c.rdb, []string{keySpecs}, fingerprint, ended, id).Text()
	return other, failed("find a job of the same spec", err)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// enqueue records a job and makes its trigger. With a fingerprint the job becomes the last one of
// its spec, also if the last one has not ended.
func (c *Client) enqueue(ctx context.Context, id string, spec transfer.Spec, fingerprint string) (transfer.Job, error) {
	text, err := json.Marshal(spec)
	if err != nil {
		return transfer.Job{}, fmt.Errorf("encode spec: %w", err)
	}
	now, err := c.now(ctx)
	if err != nil {
		return transfer.Job{}, err
	}
	r := &record{id: id, spec: spec, state: transfer.Queued, at: now, created: now, due: deadlineOf(&spec, now)}
	if err := c.addToIndex(ctx, r, fingerprint); err != nil {
		return transfer.Job{}, err
	}
	created := strconv.FormatInt(r.created.UnixMilli(), 10)
	values := []string{"spec", string(text), "created", created, "due", deadlineText(r.due)}
	// An answer other than ok is to a second try: the answer to the first was lost.
	if _, err := c.moveAll(ctx, createMove, []string{id}, moveArgs{now: now, values: values}); err != nil {
		return transfer.Job{}, err
	}
	return r.job(), c.wakeup.trigger(ctx, r)
}

// deadlineOf is the deadline of a job that is queued now; nil: it has none.
func deadlineOf(spec *transfer.Spec, now time.Time) *time.Time {
	if spec.Deadline == 0 {
		return nil
	}
	t := now.Add(time.Duration(spec.Deadline))
	return &t
}

func deadlineText(t *time.Time) string {
	if t == nil {
		return ""
	}
	return fmt.Sprint(t.UnixMilli())
}

// LastOf returns the last job that EnqueueOnce would find for a spec. exists is false if there is
// none.
func (c *Client) LastOf(ctx context.Context, spec *transfer.Spec) (job transfer.Job, exists bool, err error) {
	key, err := slotOf(spec)
	if err != nil {
		return job, false, err
	}
	id, err := c.rdb.HGet(ctx, keySpecs, key).Result()
	if err == redis.Nil { //nolint:errorlint // go-redis returns it bare
		return job, false, nil
	}
	if err != nil {
		return job, false, failed("find a job of the same spec", err)
	}
	job, err = c.Job(ctx, id)
	if transfer.CodeOf(err) == transfer.CodeNotFound {
		return job, false, nil
	}
	return job, err == nil, err
}
