package worker

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"

	"github.com/transferd/transferd/internal/transfer"
)

// claimDrives claims the drives that the job reads or writes. It waits for other jobs that have
// them.
func (a *attempt) claimDrives(ctx context.Context) error {
	s := a.spec()
	if !a.action.Writes && !a.action.EndpointCopies {
		return a.claimCompared(ctx, s.Target)
	}
	if s.Source.Drive != "" {
		if err := a.claimSource(ctx, s.Source); err != nil {
			return err
		}
	}
	if drive := cmp.Or(a.state.Plan().Drive, s.Target.Drive); s.Target.IsDrive() && drive != "" {
		return a.claimTarget(ctx, drive)
	}
	return nil
}

// claimCompared claims a drive that is only compared. If another job has written the drive since
// the chunks in the ledger were compared, they are compared again.
func (a *attempt) claimCompared(ctx context.Context, r transfer.Ref) error {
	last, err := a.claim(ctx, a.target, a.opener.Claim(r.Endpoint, r.Drive))
	if err != nil {
		return err
	}
	a.trusted = a.sameWriter(last)
	return nil
}

// claimSource claims the source drive. It fails if another job has written the drive between two
// attempts: the chunks read before and after that are not one image.
func (a *attempt) claimSource(ctx context.Context, r transfer.Ref) error {
	last, err := a.claim(ctx, a.source, a.opener.Claim(r.Endpoint, r.Drive))
	if err != nil {
		return err
	}
	if !a.sameWriter(last) {
		return &transfer.Error{
			Op: "resume", Code: transfer.CodeSourceChanged, Hint: "start a new job for the drive as it is now",
			Err: fmt.Errorf("another job has written to drive %s since the job began", r.Drive),
		}
	}
	return nil
}

// sameWriter reports whether no other job has written a drive that this job reads, since the job
// began. last is the mark of the drive's last writer; "" if it is no longer known.
func (a *attempt) sameWriter(last string) bool {
	var same bool
	a.state.updatePlan(func(p *transfer.Plan) {
		if p.ChunkSize == 0 && p.Drive == "" {
			p.ReadMark = last // nothing has been read yet
		}
		same = last == p.ReadMark || last == ""
	})
	return same
}

// claimTarget claims the target drive with a new mark. The ledger is valid only if the last mark
// before is the one in the plan: then no other job has claimed the drive since. The result is saved
// before anything is written.
func (a *attempt) claimTarget(ctx context.Context, drive string) error {
	mark := rand.Text()
	claim := a.opener.Claim(a.spec().Target.Endpoint, drive)
	claim.Mark = mark
	last, err := a.claim(ctx, a.target, claim)
	if err != nil {
		return err
	}
	a.state.updatePlan(func(p *transfer.Plan) {
		a.trusted = last != "" && last == p.WriteMark
		p.WriteMark = mark
		// In the same save as the mark: if this attempt ends before it has checked the ledger, the
		// next one finds the job's own mark and must not trust the ledger for that.
		p.Doubted = p.Doubted || !a.trusted
	})
	return nil
}

// claim calls the store's Claim, and retries while another job has the drive.
func (a *attempt) claim(ctx context.Context, end caller, c transfer.Claim) (last string, err error) {
	if a.claimer == nil {
		return "", nil
	}
	err = a.storeCall(ctx, end, func(ctx context.Context) (err error) {
		last, err = a.claimer.Claim(ctx, c)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("claim drive: %w", err)
	}
	return last, nil
}
