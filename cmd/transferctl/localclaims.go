package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/transferd/transferd/internal/embedded"
	"github.com/transferd/transferd/internal/localstore"
	"github.com/transferd/transferd/internal/queue"
	"github.com/transferd/transferd/internal/transfer"
)

// localStore is the checkpoints of a job with --local, and its claims: by the locks of the journal
// and, where this host has a queue, in the queue too.
type localStore struct {
	*localstore.Store
	queue *queueClaims
	once  sync.Once // of the warning that the job waits for another one
}

var (
	_ transfer.Store   = (*localStore)(nil)
	_ transfer.Claimer = (*localStore)(nil)
)

// Claim implements transfer.Claimer. It warns once that the job waits for a drive.
func (s *localStore) Claim(ctx context.Context, c transfer.Claim) (last string, err error) {
	last, err = s.claim(ctx, c)
	if transfer.CodeOf(err) == transfer.CodeConflict {
		s.once.Do(func() { s.queue.warn(fmt.Errorf("waiting for the drive, for 10 minutes at the most: %w", err)) })
	}
	return last, err
}

// claim claims a drive. One that the job writes counts as written by others unless the queue has
// the mark of its last writer.
func (s *localStore) claim(ctx context.Context, c transfer.Claim) (last string, err error) {
	if last, err = s.Store.Claim(ctx, c); err != nil {
		return "", err
	}
	mark, known, err := s.queue.claim(ctx, c)
	switch {
	case err != nil:
		return "", err
	case !known && c.Writes():
		return "", nil
	}
	return transfer.JoinMarks(last, mark), nil
}

// Save implements transfer.Store. A save that succeeds proves that the drives are still this job's,
// as far as the queue can be asked.
func (s *localStore) Save(ctx context.Context, c *transfer.Checkpoint) error {
	if err := s.queue.renew(ctx); err != nil {
		return err
	}
	return s.Store.Save(ctx, c)
}

const (
	// queueClaim bounds how long a claim waits for the queue, and queueRenew how long a save does.
	queueClaim = 5 * time.Second
	queueRenew = 2 * time.Second
	// queuePause is how long a queue that is away is left alone.
	queuePause = 5 * time.Second
)

// queueClaims is the claims of a local job in the queue of this host. A local job runs also while
// the queue is away, for that is when people use --local. A warning says so, the claims are made
// when the queue is back, and the job ends if another job has claimed a drive by then. It is safe
// for concurrent use.
type queueClaims struct {
	dial func(context.Context) (*queue.Client, error) // nil and no error: this host has no queue now
	job  string
	warn func(error)

	mu     sync.Mutex
	client *queue.Client // nil: not connected
	claims *queue.Claims
	wanted []transfer.Claim // those that are not made yet
	pause  time.Time        // when the queue was not there or did not answer; zero: it did
	missed bool             // a warning says that the queue does not answer
}

func (a *app) queueClaims(job string) *queueClaims {
	return &queueClaims{dial: a.dialIfThere, job: job, warn: a.warn}
}

// dialIfThere connects to the queue if the config names one, or a transferd with a queue of its own
// runs here.
func (a *app) dialIfThere(ctx context.Context) (*queue.Client, error) {
	if _, err := embedded.Find(a.queueFolder()); a.cfg.Redis == "" && err != nil {
		return nil, nil
	}
	return a.dial(ctx)
}

// claim claims a drive in the queue and returns its mark from there. Known is false if the queue is
// away: then renew makes the claim later. It fails with CodeConflict if another job has the drive.
func (q *queueClaims) claim(ctx context.Context, c transfer.Claim) (mark string, known bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.wanted = slices.DeleteFunc(q.wanted, func(w transfer.Claim) bool { return w.Keys()[0] == c.Keys()[0] })
	limited, cancel := context.WithTimeout(ctx, queueClaim)
	defer cancel()
	there, err := q.connect(limited)
	if there {
		mark, err = q.claims.Claim(limited, c)
	}
	switch {
	case there && transfer.CodeOf(err) != transfer.CodeUnreachable:
		return mark, true, err
	case ctx.Err() != nil:
		return "", false, ctx.Err()
	}
	q.wanted = append(q.wanted, c)
	q.away(err)
	return "", err == nil, nil
}

// renew keeps the claims, and makes those that are wanted. It fails with CodeFenced if another job
// has a drive by now.
func (q *queueClaims) renew(ctx context.Context) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.claims == nil && len(q.wanted) == 0 || time.Since(q.pause) < queuePause {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, queueRenew)
	defer cancel()
	there, err := q.connect(ctx)
	if there {
		err = q.renewAll(ctx)
	}
	switch {
	case transfer.CodeOf(err) == transfer.CodeConflict:
		return &transfer.Error{
			Code: transfer.CodeFenced, Err: fmt.Errorf("a job of the queue has taken a drive of this one: %w", err),
			Hint: "when it has ended, the same command looks at what is there, and goes on",
		}
	case !there || err != nil:
		q.away(err)
	default:
		q.back()
	}
	return nil
}

func (q *queueClaims) renewAll(ctx context.Context) error {
	if err := q.claims.Renew(ctx); err != nil {
		return err
	}
	for len(q.wanted) > 0 {
		if _, err := q.claims.Claim(ctx, q.wanted[0]); err != nil {
			return err
		}
		q.wanted = q.wanted[1:]
	}
	return nil
}

// connect reports whether this host has a queue, which it is then connected to.
func (q *queueClaims) connect(ctx context.Context) (there bool, err error) {
	if q.client != nil {
		return true, nil
	}
	client, err := q.dial(ctx)
	if client == nil || err != nil {
		return false, err
	}
	q.client, q.claims = client, client.Claims(q.job)
	return true, nil
}

// away leaves the queue alone for a while, and warns once that it does not answer. Without an error
// this host has no queue.
func (q *queueClaims) away(err error) {
	q.pause = time.Now()
	if err == nil || q.missed {
		return
	}
	q.missed = true
	q.warn(&transfer.Error{
		Code: transfer.CodeUnreachable,
		Err: fmt.Errorf(
			"going on without the queue, which does not keep its jobs from the drives of this one: %w", err),
		Hint: "make sure that no job of the queue works on them; they are claimed when the queue answers, " +
			"and if one is another job's then, this one ends",
	})
}

func (q *queueClaims) back() {
	q.pause = time.Time{}
	if q.missed {
		q.missed = false
		q.warn(errors.New("the queue answers again, and keeps its jobs from the drives of this one"))
	}
}

// close frees the claims.
func (q *queueClaims) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.client == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), queueRenew)
	defer cancel()
	q.claims.Free(ctx)
	_ = q.client.Close() // nothing is written through it any more
}
