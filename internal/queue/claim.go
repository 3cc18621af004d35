package queue

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// markLasts is for how long it is known who wrote a drive last: longer than jobs are left unfinished.
const markLasts = 90 * 24 * time.Hour

// claimed is a claim, and the mark that the drive has to keep while it lasts.
type claimed struct {
	transfer.Claim
	mark string
}

// Claim implements transfer.Claimer. A claim is the job's again when another worker takes it up.
func (a *Attempt) Claim(ctx context.Context, c transfer.Claim) (last string, err error) {
	last, err = a.claim(ctx, c, anyMark)
	if err != nil {
		return "", err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.claims = append(a.claims, claimed{c, cmp.Or(c.Mark, last)})
	return last, nil
}

// anyMark is what a first claim expects to find.
const anyMark = "-"

func (a *Attempt) claim(ctx context.Context, c transfer.Claim, expected string) (last string, err error) {
	answer, err := claimDriveScript.Run(ctx, a.client.rdb, driveKeys(c.Endpoint, c.Drive),
		a.Job.ID, a.timing.claim.Milliseconds(), c.Mark, expected, markLasts.Milliseconds()).StringSlice()
	switch {
	case err != nil:
		return "", outage(failed("claim drive "+c.Drive, err))
	case answer[0] == "":
		return answer[1], nil
	case answer[0] == a.Job.ID:
		return "", transfer.Errorf(transfer.CodeConflict, "transferctl jobs retry looks at what is there, and goes on", "another job has written to drive %s meanwhile", c.Drive)
	}
	return "", transfer.Errorf(transfer.CodeConflict, "wait for it, or cancel it with transferctl jobs cancel", "job %s works on drive %s", answer[0], c.Drive)
}

// renewClaims fails with CodeConflict if a claim lapsed during an outage of Redis and another job has claimed the drive since.
func (a *Attempt) renewClaims(ctx context.Context) error {
	a.mu.Lock()
	claims := slices.Clone(a.claims)
	a.mu.Unlock()
	for _, c := range claims {
		if _, err := a.claim(ctx, c.Claim, c.mark); err != nil {
			return err
		}
	}
	return nil
}

// freeClaims frees the drives for other jobs. If it fails, they are free when the claims lapse.
func (a *Attempt) freeClaims(ctx context.Context) {
	a.mu.Lock()
	claims := a.claims
	a.claims = nil
	a.mu.Unlock()
	for _, c := range claims {
		_ = freeDriveScript.Run(ctx, a.client.rdb, driveKeys(c.Endpoint, c.Drive), a.Job.ID).Err()
	}
}
