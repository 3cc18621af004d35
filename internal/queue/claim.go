package queue

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// markTTL is how long the mark of a drive's last writer is kept: longer than jobs stay unfinished.
const markTTL = 90 * 24 * time.Hour

// heldClaim is a claim under one of its keys, and the mark that the drive must keep under that key
// while the claim lasts. before is the mark before the claim: a Redis that was restored from an older
// copy may have it, and then no other job has claimed the drive since.
type heldClaim struct {
	transfer.Claim
	key, mark, before string
}

// Claim implements transfer.Claimer. The next owner of the job can make the same claim. A claim is
// made under all of its keys or under none, so that two jobs that name the drive by different keys
// do not wait for each other.
func (a *Attempt) Claim(ctx context.Context, c transfer.Claim) (last string, err error) {
	var made []heldClaim
	var marks []string
	isMade := func(c heldClaim) bool {
		return slices.ContainsFunc(made, func(m heldClaim) bool { return m.key == c.key })
	}
	for _, key := range c.Keys() {
		mark, err := a.claim(ctx, c, key, anyMark, anyMark)
		if err != nil {
			late, _ := a.lease.Late()
			a.free(ctx, slices.DeleteFunc(made, a.holds), late)
			return "", outage(err)
		}
		made = append(made, heldClaim{c, key, cmp.Or(c.Mark, mark), mark})
		marks = append(marks, mark)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.claims = append(slices.DeleteFunc(a.claims, isMade), made...)
	return transfer.JoinMarks(marks...), nil
}

// holds reports whether the attempt made the claim before.
func (a *Attempt) holds(c heldClaim) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.ContainsFunc(a.claims, func(other heldClaim) bool { return other.key == c.key })
}

// anyMark is what a first claim expects to find.
const anyMark = "-"

// claim makes or renews a claim under a key, if the drive has one of two marks.
func (a *Attempt) claim(ctx context.Context, c transfer.Claim, key, mark, before string) (last string, err error) {
	args := append(a.owner.claimant(a.Job.ID),
		a.timing.claim.Milliseconds(), c.Mark, mark, markTTL.Milliseconds(), before)
	answer, err := claimDriveScript.Run(ctx, a.client.rdb, driveKeys(key), args...).StringSlice()
	switch {
	case err != nil && answered(err):
		return "", unreadableClaim(c.Drive, key, err)
	case err != nil:
		return "", failed("claim drive "+c.Drive, err)
	case answer[0] == "":
		return answer[1], nil
	case answer[0] == "fenced":
		return "", a.fenced("it has claimed drive " + c.Drive)
	case answer[0] == "mark":
		return "", transfer.Errorf(transfer.CodeConflict, "transferctl jobs retry compares the drive and continues",
			"another job has written to drive %s meanwhile", c.Drive)
	}
	return "", transfer.Errorf(transfer.CodeConflict,
		"wait for it, or cancel it with transferctl jobs cancel; one that runs with --local is stopped where it runs",
		"job %s works on drive %s", answer[0], c.Drive)
}

func unreadableClaim(drive, key string, cause error) error {
	return &transfer.Error{
		Op: "claim drive " + drive, Code: transfer.CodeFailed,
		Err: fmt.Errorf("its claims %w: %w", errUnreadable, cause),
		Hint: "if no other job works on the drive, redis-cli UNLINK '" +
			strings.Join(driveKeys(key), "' '") + "' frees it",
	}
}

// renewClaims fails with CodeConflict if a claim lapsed during an outage of Redis and another job
// has claimed the drive since. An error of one claim does not stop the renewal of the others.
func (a *Attempt) renewClaims(ctx context.Context) (first error) {
	a.mu.Lock()
	claims := slices.Clone(a.claims)
	a.mu.Unlock()
	for _, c := range claims {
		_, err := a.claim(ctx, c.Claim, c.key, c.mark, c.before)
		if transfer.CodeOf(err) == transfer.CodeConflict {
			return err
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// freeClaims frees the drives for other jobs once late has passed: until then bytes of a lost
// owner, perhaps of this attempt, may arrive. Claims of a later attempt stay. If freeClaims fails,
// the drives become free when the claims lapse.
func (a *Attempt) freeClaims(ctx context.Context, late time.Duration) {
	a.mu.Lock()
	claims := a.claims
	a.claims = nil
	a.mu.Unlock()
	a.free(ctx, claims, late)
}

func (a *Attempt) free(ctx context.Context, claims []heldClaim, late time.Duration) {
	for _, c := range claims {
		_ = a.freeDrive(ctx, c.key, late)
	}
}

// freeDrive ends a claim. No job can claim the drive until late has passed.
func (a *Attempt) freeDrive(ctx context.Context, key string, late time.Duration) error {
	args := append(a.owner.claimant(a.Job.ID), late.Milliseconds())
	return freeDriveScript.Run(ctx, a.client.rdb, driveKeys(key), args...).Err()
}

// Claims holds the claims of a job that runs outside of the queue and has no record there. It is
// safe for concurrent use. The caller renews it at least once in 5 minutes, and frees it.
type Claims struct{ attempt Attempt }

var _ transfer.Claimer = (*Claims)(nil)

// Claims makes an empty Claims for a job. The ID must be unique.
func (c *Client) Claims(job string) *Claims {
	return &Claims{Attempt{Job: transfer.Job{ID: job}, client: c, timing: defaultTiming}}
}

// Claim implements transfer.Claimer. CodeConflict: another job has claimed the drive.
// CodeUnreachable: Redis is away or refuses.
func (s *Claims) Claim(ctx context.Context, c transfer.Claim) (last string, err error) {
	return s.attempt.Claim(ctx, c)
}

// Renew renews the claims. CodeConflict: another job has claimed or written one of the drives
// since.
func (s *Claims) Renew(ctx context.Context) error { return outage(s.attempt.renewClaims(ctx)) }

// Free ends the claims.
func (s *Claims) Free(ctx context.Context) { s.attempt.freeClaims(ctx, 0) }
