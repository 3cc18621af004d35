package worker

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"

	"github.com/transferd/transferd/internal/transfer"
)

// claimDrives keeps other jobs from writing what this one reads or writes, and waits for those that do.
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

// claimCompared claims a drive that is only read. If another job has written it since the ledger's
// chunks were compared, they are compared again.
func (a *attempt) claimCompared(ctx context.Context, r transfer.Ref) error {
	last, err := a.claim(ctx, a.target, a.opener.Claim(r.Endpoint, r.Drive))
	if err != nil {
		return err
	}
	a.trusted = a.sameWriter(last)
	return nil
}

// claimSource finds out, too, whether another job has written the drive between two attempts: what was
// read before then and what would be read now do not make one image.
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

// sameWriter reports whether the last writer of a drive that the job reads is the one that it was when
// the job began. last is the writer's mark; "" if it is not known any more.
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

// claimTarget marks the drive as this attempt's. Whether it was the job's before is settled, and
// saved, before anything is written: only a plan that has the mark of the last claim proves that the
// drive is as the ledger has it.
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
		// In the same save as the mark: an attempt that ends before it settles must not turn doubt
		// into trust.
		p.Doubted = p.Doubted || !a.trusted
	})
	return nil
}

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
