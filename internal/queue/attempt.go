package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/lease"
	"github.com/transferd/transferd/internal/transfer"
)

// Attempt is one run of a job by one worker, which holds the job's lease. It is safe for concurrent
// use.
type Attempt struct {
	Job  transfer.Job // as it was when the attempt began
	Spec transfer.Spec
	lost bool // too many workers have died under the job: the attempt only undoes what the job owes

	client   *Client
	readAt   time.Time // when Job was read, by this host's clock
	worker   string
	owner    owner
	lease    *lease.Lease
	timing   timing
	mu       sync.Mutex
	claims   []heldClaim
	finished bool // the plan saved last says that the target is finished, and only compared
}

var (
	_ transfer.Store   = (*Attempt)(nil)
	_ transfer.Claimer = (*Attempt)(nil)
	_ transfer.Clock   = (*Attempt)(nil)
	_ lease.Holder     = (*Attempt)(nil)
)

// Now implements transfer.Clock. It is Redis' time when the attempt began, plus the time since then
// by this host's clock.
func (a *Attempt) Now() time.Time { return a.Job.AsOf.Add(time.Since(a.readAt)) }

// Lease implements lease.Holder.
func (a *Attempt) Lease() *lease.Lease { return a.lease }

// Load implements transfer.Store.
func (a *Attempt) Load(ctx context.Context) (transfer.Checkpoint, error) {
	_, at, err := a.client.Ledger(ctx, a.Job.ID)
	return at, outage(err)
}

// Save implements transfer.Store: one script, refused unless this attempt still owns the job.
func (a *Attempt) Save(ctx context.Context, c *transfer.Checkpoint) error {
	plan, err := json.Marshal(c.Plan)
	if err != nil {
		return fmt.Errorf("encode plan: %w", err)
	}
	progress, err := json.Marshal(c.Progress)
	if err != nil {
		return fmt.Errorf("encode progress: %w", err)
	}
	a.mu.Lock()
	a.finished = c.Plan.Finished
	a.mu.Unlock()
	var inParts int64
	if a.Spec.Action().MovesServer {
		inParts = c.Progress.Bytes.Done
	}
	flag := map[bool]int{true: 1}
	return a.runAsOwner(ctx, "save job "+a.Job.ID, saveScript,
		plan, progress, flag[c.Reset], transfer.AppendEntries(nil, c.Entries), flag[!c.Interim], flag[c.Ending],
		flag[c.Plan.Owes()], inParts)
}

// runAsOwner runs a script that renews the lease. If the script answers ok, the lease is proven
// from when the script was sent.
func (a *Attempt) runAsOwner(ctx context.Context, op string, s *script, args ...any) error {
	args = append([]any{
		a.owner.epoch, a.owner.token, a.timing.lease.Milliseconds(), a.timing.late.Milliseconds(),
	}, args...)
	for {
		sent := a.lease.Now()
		word, err := a.client.run(ctx, op, s, a.Job.ID, args...)
		if ms, late := strings.CutPrefix(word, "late "); late && err == nil {
			if err := recordLate(a.lease, ms); err != nil {
				return err
			}
			continue
		}
		if err = a.ownerError(word, err); err == nil {
			a.lease.Renewed(sent)
		}
		return err
	}
}

// ownerError converts a script's answer to an error: CodeCanceled and CodeFenced end the attempt.
func (a *Attempt) ownerError(word string, err error) error {
	switch {
	case err != nil:
		return outage(err)
	case word == ok:
		return nil
	case word == "cancel":
		return transfer.Errorf(transfer.CodeCanceled, "transferctl jobs retry continues it", "canceled")
	}
	// A job that was pruned meanwhile has no owner either.
	if word == "fenced" {
		return a.fenced("the job has another owner")
	}
	return a.fenced("the job is " + word)
}

func (a *Attempt) fenced(reason string) error {
	return transfer.Errorf(transfer.CodeFenced, "", "another worker has taken the job over (%s)", reason)
}

// renewPeriodically renews the lease until ctx ends, independent of saves: a copy that waits for
// its drive keeps its job. It calls stop when the attempt is over. An outage of Redis does not end
// an attempt: if the lease lapsed meanwhile and no other worker took the job, the next renewal
// grants it again.
func (a *Attempt) renewPeriodically(ctx context.Context, stop context.CancelCauseFunc, log *zap.Logger) {
	tick := time.NewTicker(a.timing.renew)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := a.renew(ctx)
		switch transfer.CodeOf(err) {
		case transfer.CodeCanceled, transfer.CodeFenced, transfer.CodeConflict:
			stop(err)
			return
		case "":
		default:
			log.Warn("lease not renewed", zap.Error(err))
		}
	}
}

// renew renews the lease and the claims of drives. While Redis does not answer, it gives up after
// half the grace period of the leader. So the first renewal after an outage is in time: the leader
// does not yet count the lapsed lease as a lost worker.
func (a *Attempt) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, a.timing.grace/2)
	defer cancel()
	err := a.renewLease(ctx)
	if err == nil {
		err = a.renewClaims(ctx)
	}
	return err
}

func (a *Attempt) renewLease(ctx context.Context) error {
	return a.runAsOwner(ctx, "renew lease of job "+a.Job.ID, renewScript)
}

// writeOutcome records how the attempt ended. It may be called again after an error. ended is false
// if another attempt continues the job.
func (a *Attempt) writeOutcome(ctx context.Context, outcome error) (ended bool, err error) {
	owner, err := a.stillOwner(ctx)
	if err != nil {
		return false, err
	}
	late, _ := a.lease.Late()
	if !owner {
		late = max(late, a.timing.late) // bytes of this attempt may still arrive
		if _, err := a.client.run(ctx, "end attempt of job "+a.Job.ID, outlivedScript, a.Job.ID); err != nil {
			return false, err
		}
	}
	if a.keepsClaims(outcome) {
		ended, err := a.release(ctx)
		if ended {
			a.freeClaims(ctx, late)
		}
		return ended, err
	}
	a.freeClaims(ctx, late)
	switch code := transfer.CodeOf(outcome); {
	case outcome == nil:
		return a.finish(ctx, succeedMove)
	case code == transfer.CodeFenced:
		return false, nil
	case code == transfer.CodeDrained:
		return a.release(ctx)
	case code == transfer.CodeCanceled:
		return a.finish(ctx, stopMove)
	default:
		return a.finish(ctx, failMove, "error", mustJSON(transfer.FailureOf(outcome)))
	}
}

// keepsClaims reports whether the next attempt must find the target as this one leaves it.
func (a *Attempt) keepsClaims(outcome error) bool {
	switch transfer.CodeOf(outcome) {
	case "":
		// Another Redis may have given the job to an unknown owner after the run had read its
		// target for the last time. The next attempt waits for that owner's bytes and reads again.
		return !a.lease.Settled() && a.Spec.Action().Writes
	case transfer.CodeDrained:
		// The next attempt only compares a finished target. Between the two, another job could
		// write to it, and this one would fail although it has done its work.
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.finished
	}
	return false
}

// stillOwner renews the lease and reports whether this attempt still owns the job. It fails if
// Redis does not answer.
func (a *Attempt) stillOwner(ctx context.Context) (bool, error) {
	err := a.renewLease(ctx)
	switch transfer.CodeOf(err) {
	case "", transfer.CodeCanceled:
		return true, nil
	case transfer.CodeFenced:
		return false, nil
	default:
		return false, err
	}
}

// finish ends the job by a move. It changes nothing if the job has ended already or has another
// owner.
func (a *Attempt) finish(ctx context.Context, m *move, values ...string) (ended bool, err error) {
	answer, r, err := a.client.move(ctx, m, a.Job.ID, moveArgs{owner: a.owner, values: values})
	return hasEnded(answer, r), err
}

// release queues the job again. It ends a job that is being canceled.
func (a *Attempt) release(ctx context.Context) (ended bool, err error) {
	answer, r, err := a.client.move(ctx, releaseMove, a.Job.ID, moveArgs{owner: a.owner})
	if err == nil && r != nil && r.state == transfer.Queued {
		// Without a trigger, for example because Redis is full, maintenance makes one. A server
		// that stops does not wait for that.
		_ = a.client.wakeup.trigger(ctx, r)
	}
	return hasEnded(answer, r), err
}

// hasEnded reports whether a job has ended, by the answer to a move: the record after it, or the
// state that forbids it.
func hasEnded(answer string, r *record) bool {
	if r != nil {
		return r.state.Terminal()
	}
	return transfer.State(answer).Terminal()
}
