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

// localStore has the checkpoints and the claims of a --local job. It claims drives by the locks of
// the localstore and, if this host has a queue, in the queue too.
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
		s.once.Do(func() { s.queue.warn(fmt.Errorf("waiting for the drive, for at most 10 minutes: %w", err)) })
	}
	return last, err
}

// claim claims a drive and returns the mark of its last writer. A drive that the job writes to
// counts as written by others if the queue is not reachable: then last is empty.
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

// Save implements transfer.Store. It fails if another job has claimed a drive of this one, as far
// as the queue is reachable.
func (s *localStore) Save(ctx context.Context, c *transfer.Checkpoint) error {
	if err := s.queue.renew(ctx); err != nil {
		return err
	}
	return s.Store.Save(ctx, c)
}

const (
	// claimTimeout is how long a claim waits for the queue, and renewTimeout how long a save does.
	claimTimeout = 5 * time.Second
	renewTimeout = 2 * time.Second
	// queueRetryPause is the time between two tries to reach a queue that is not reachable.
	queueRetryPause = 5 * time.Second
)

// queueClaims has the claims of a local job in the queue of this host. A local job also runs while
// the queue is not reachable, because users need --local then. A warning says so, the claims are
// made once the queue is reachable, and the job ends if another job has claimed a drive by then. It
// is safe for concurrent use.
type queueClaims struct {
	dial func(context.Context) (*queue.Client, error) // nil and no error: this host has no queue now
	job  string
	warn func(error)

	mu       sync.Mutex
	client   *queue.Client // nil: not connected
	claims   *queue.Claims
	pending  []transfer.Claim // not made yet
	failedAt time.Time        // when the queue was last not reachable; zero: it is reachable
	warned   bool             // a warning says that the queue is not reachable
}

func (a *app) queueClaims(job string) *queueClaims {
	return &queueClaims{dial: a.dialIfAny, job: job, warn: a.warn}
}

// dialIfAny connects to the queue of the config, or to the embedded queue of a transferd on this
// host. It returns nil and no error if there is neither.
func (a *app) dialIfAny(ctx context.Context) (*queue.Client, error) {
	if _, err := embedded.Find(a.queueFolder()); a.cfg.Redis == "" && err != nil {
		return nil, nil
	}
	return a.dialOnce(ctx)
}

// claim claims a drive in the queue and returns the mark that the queue has of it. known is false
// if the queue is not reachable: then renew makes the claim later. It fails with CodeConflict if
// another job has claimed the drive.
func (q *queueClaims) claim(ctx context.Context, c transfer.Claim) (mark string, known bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pending = slices.DeleteFunc(q.pending, func(w transfer.Claim) bool { return w.Keys()[0] == c.Keys()[0] })
	limited, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	connected, err := q.connect(limited)
	if connected {
		mark, err = q.claims.Claim(limited, c)
	}
	switch {
	case connected && transfer.CodeOf(err) != transfer.CodeUnreachable:
		return mark, true, err
	case ctx.Err() != nil:
		return "", false, ctx.Err()
	}
	q.pending = append(q.pending, c)
	q.warnUnreachable(err)
	return "", err == nil, nil
}

// renew renews the claims, and makes the pending ones. It fails with CodeFenced if another job has
// claimed one of the drives.
func (q *queueClaims) renew(ctx context.Context) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.claims == nil && len(q.pending) == 0 || time.Since(q.failedAt) < queueRetryPause {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	connected, err := q.connect(ctx)
	if connected {
		err = q.renewAll(ctx)
	}
	switch {
	case transfer.CodeOf(err) == transfer.CodeConflict:
		return &transfer.Error{
			Code: transfer.CodeFenced, Err: fmt.Errorf("a job of the queue has claimed a drive of this job: %w", err),
			Hint: "run the same command again when that job has ended; it compares the drive and continues",
		}
	case !connected || err != nil:
		q.warnUnreachable(err)
	default:
		q.noteReachable()
	}
	return nil
}

func (q *queueClaims) renewAll(ctx context.Context) error {
	if err := q.claims.Renew(ctx); err != nil {
		return err
	}
	for len(q.pending) > 0 {
		if _, err := q.claims.Claim(ctx, q.pending[0]); err != nil {
			return err
		}
		q.pending = q.pending[1:]
	}
	return nil
}

// connect connects to the queue if this host has one, and reports whether it is connected.
func (q *queueClaims) connect(ctx context.Context) (connected bool, err error) {
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

// warnUnreachable delays the next try to reach the queue, and warns once of err. Without an error
// this host has no queue.
func (q *queueClaims) warnUnreachable(err error) {
	q.failedAt = time.Now()
	if err == nil || q.warned {
		return
	}
	q.warned = true
	q.warn(&transfer.Error{
		Code: transfer.CodeUnreachable,
		Err: fmt.Errorf(
			"continuing without the queue, so that its jobs may use the drives of this one: %w", err),
		Hint: "check that no job of the queue uses them; this job claims them once the queue is reachable, " +
			"and ends if another job has claimed one by then",
	})
}

// noteReachable ends what warnUnreachable began.
func (q *queueClaims) noteReachable() {
	q.failedAt = time.Time{}
	if q.warned {
		q.warned = false
		q.warn(errors.New("the queue is reachable again, and has the claims of this job"))
	}
}

// close releases the claims.
func (q *queueClaims) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.client == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), renewTimeout)
	defer cancel()
	q.claims.Free(ctx)
	_ = q.client.Close() // nothing is written through it after this
}
