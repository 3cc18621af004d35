package worker

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/transfer"
)

// openSource opens the source. It must be the image that earlier attempts read.
func (a *attempt) openSource(ctx context.Context) error {
	plan := a.state.Plan()
	a.session.InOrder = plan.InOrder
	if err := a.openUnheld(ctx); err != nil {
		return err
	}
	source := a.ends.source
	switch now := source.Identity(); {
	case plan.Source == "" || now == "" || plan.Source == now:
		return nil
	case a.ends.resembler != nil && a.ends.resembler.Resembles(plan.Source):
		a.log.Info("source may have changed, comparing it with the ledger",
			zap.String("was", plan.Source), zap.String("is", now))
		a.state.updatePlan(func(p *transfer.Plan) { p.Recheck, p.Source = true, "" })
		return nil
	default:
		return errors.Join(&transfer.Error{
			Op: "resume", Code: transfer.CodeSourceChanged, Hint: "start a new job for the image as it is now",
			Err: fmt.Errorf("the source has changed since the job began (it was %s and is now %s)", plan.Source, now),
		}, source.Close())
	}
}

// tryOpenSource opens the source, whatever its identity.
func (a *attempt) tryOpenSource(ctx context.Context) error {
	return control(ctx, a.source, func(ctx context.Context) error {
		source, err := a.opener.Source(ctx, a.session)
		if err != nil {
			return err
		}
		if err = a.ends.setSource(source); err != nil {
			return errors.Join(err, source.Close())
		}
		if a.ends.random != nil && a.readsHoles() {
			a.ends.mapper = allData{source}
		}
		return nil
	})
}

// readsHoles reports whether the holes of the source are read, too. Full verification and
// comparisons do not trust a file system's map of holes: with a wrong map, the copy and the
// verification would make the same mistake.
func (a *attempt) readsHoles() bool {
	return a.spec().NoHoles || a.spec().Verify == transfer.VerifyFull || !a.action.Writes
}

// allData is a Mapper of a source whose map of holes is not trusted.
type allData struct{ source transfer.Source }

var _ transfer.Mapper = allData{}

// Extents yields the whole source.
func (d allData) Extents(context.Context) iter.Seq2[transfer.Extent, error] {
	return extentsOf(transfer.Extent{Len: d.source.Size()})
}

// reopenInOrder opens the source again, as a stream. The whole stream is compared with the ledger,
// so it may be another version than the one read before. Therefore the plan's identity of the
// source is removed: later attempts write zeros, too.
func (a *attempt) reopenInOrder(ctx context.Context) error {
	before := a.ends.source
	a.session.InOrder = true
	a.state.updatePlan(func(p *transfer.Plan) { p.InOrder, p.Source = true, "" })
	if a.ends.stream == nil {
		if err := errors.Join(before.Close(), a.tryOpenSource(ctx)); err != nil {
			return err
		}
	}
	if size := a.ends.source.Size(); size >= 0 && size != before.Size() {
		return &transfer.Error{
			Op: "open the source again", Code: transfer.CodeSourceChanged,
			Hint: "start a new job for the image as it is now",
			Err:  fmt.Errorf("it had %s and now has %d", transfer.Count(before.Size(), "byte"), size),
		}
	}
	return a.state.saveUntilDone(ctx)
}
