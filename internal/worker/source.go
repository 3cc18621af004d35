package worker

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/transfer"
)

// openSource opens the source, which must be the one that earlier attempts read.
func (a *attempt) openSource(ctx context.Context) error {
	plan := a.state.Plan()
	a.session.InOrder = plan.InOrder
	if err := a.openOnce(ctx); err != nil {
		return err
	}
	source := a.ends.source
	switch now := source.Identity(); {
	case plan.Source == "" || now == "" || plan.Source == now:
		return nil
	case a.ends.similar != nil && a.ends.similar.Resembles(plan.Source):
		a.log.Info("the source may have changed, comparing what was read of it",
			zap.String("was", plan.Source), zap.String("is", now))
		a.state.updatePlan(func(p *transfer.Plan) { p.Recheck, p.Source = true, "" })
		return nil
	default:
		return errors.Join(&transfer.Error{
			Op: "resume", Code: transfer.CodeSourceChanged, Hint: "start a new job for the image as it is now",
			Err: fmt.Errorf("the source has changed since the job began (it was %s, it is %s)", plan.Source, now),
		}, source.Close())
	}
}

func (a *attempt) openOnce(ctx context.Context) error {
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

// readsHoles reports whether what the source calls holes is read like all else. Full verification
// and comparisons take no file system's word for it: the target would be compared with zeros that
// it may have been given by mistake.
func (a *attempt) readsHoles() bool {
	return a.spec().NoHoles || a.spec().Verify == transfer.VerifyFull || !a.action.Writes
}

// allData is a source whose holes are not trusted.
type allData struct{ source transfer.Source }

var _ transfer.Mapper = allData{}

// Extents yields all of the source.
func (d allData) Extents(context.Context) iter.Seq2[transfer.Extent, error] {
	return extentsOf(transfer.Extent{Len: d.source.Size()})
}

// reopenInOrder makes a stream of the source. All of it is read and compared with what the ledger
// has, so it does not matter any more which version of it was read before; but later attempts
// cannot take it for known that zeros were never written.
func (a *attempt) reopenInOrder(ctx context.Context) error {
	before := a.ends.source
	a.session.InOrder = true
	a.state.updatePlan(func(p *transfer.Plan) { p.InOrder, p.Source = true, "" })
	if a.ends.stream == nil {
		if err := errors.Join(before.Close(), a.openOnce(ctx)); err != nil {
			return err
		}
	}
	if size := a.ends.source.Size(); size >= 0 && size != before.Size() {
		return &transfer.Error{
			Op: "open the source again", Code: transfer.CodeSourceChanged,
			Hint: "start a new job for the image as it is now",
			Err:  fmt.Errorf("it had %d bytes, it has %d", before.Size(), size),
		}
	}
	return a.state.saveSurely(ctx)
}
