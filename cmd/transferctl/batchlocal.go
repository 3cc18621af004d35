package main

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/transferd/transferd/internal/batch"
	"github.com/transferd/transferd/internal/endpoints"
	"github.com/transferd/transferd/internal/localstore"
	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/transfer"
)

// maxLocalJobs is how many items of a batch this process may run at once.
const maxLocalJobs = 64

// localHistory is what this host's state folder knows of earlier items.
type localHistory struct {
	localstore.Items
	jobs int
}

var _ batch.History = localHistory{}

// LastJobs implements batch.History.
func (h localHistory) LastJobs(
	_ context.Context, items []transfer.ItemKey, sample int,
) (map[string]*transfer.LastJob, error) {
	return h.Last(items, sample)
}

// Rates implements batch.History. It knows none.
func (localHistory) Rates(context.Context) (map[string]float64, error) { return nil, nil }

// Slots implements batch.History.
func (h localHistory) Slots(context.Context, string) (int, error) { return h.jobs, nil }

// localBatch is a batch whose items this process runs.
type localBatch struct {
	app      *app
	items    localstore.Items
	opener   *endpoints.Opener
	follower *batchFollower

	mu    sync.Mutex
	batch transfer.Batch
}

// runBatchLocally checks a plan and runs it in this process.
func (a *app) runBatchLocally(cmd *cobra.Command, f *batchFlags, plan *batch.Plan) (err error) {
	ctx := cmd.Context()
	l := &localBatch{
		app: a, items: localstore.Items{Dir: filepath.Join(a.cfg.State, "items")}, opener: a.opener(),
		follower: a.followBatch(),
	}
	p, err := a.planner(cmd, f, localHistory{l.items, f.jobs}, func(string) transfer.Inspector { return l.opener })
	if err != nil {
		return err
	}
	if err := p.Expand(ctx, plan); err != nil {
		return err
	}
	if !f.dryRun {
		unlock, err := l.items.Lock(p.Fingerprint())
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, unlock()) }()
	}
	r, err := p.Check(ctx, plan)
	if err != nil {
		return err
	}
	for i := range r.New.Entries {
		if s := r.New.Entries[i].Spec; s != nil && s.Mode == transfer.ModeQuiesce {
			return errQuiesceLocally
		}
	}
	if f.dryRun {
		return a.printPlanned(r)
	}
	if err := a.refuse(r); err != nil {
		return err
	}
	if f.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, f.timeout, transfer.Errorf(transfer.CodeWaitTimeout,
			"the same command continues it", "the batch has not ended after %s", transfer.FormatDuration(f.timeout)))
		defer cancel()
	}
	l.batch = r.Batch
	l.batch.Findings = nil
	return l.run(ctx, r.New.Entries, f.jobs)
}

// run runs the items, jobs of them at once, and prints the result.
func (l *localBatch) run(ctx context.Context, entries []transfer.BatchEntry, jobs int) error {
	g := panics.NewGroup()
	g.SetLimit(jobs)
	l.update(func() {}) // the first line
	for i := range entries {
		if entries[i].Spec == nil {
			continue
		}
		g.Go(func() error {
			if ctx.Err() != nil {
				l.update(func() { l.batch.Items[i].State = transfer.Canceled })
				return nil
			}
			return l.runItem(ctx, &entries[i], i)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := l.app.finishBatch(&l.batch, l.follower); ctx.Err() == nil {
		return err
	}
	if cause := context.Cause(ctx); transfer.CodeOf(cause) == transfer.CodeWaitTimeout {
		return cause
	}
	return transfer.Errorf(transfer.CodeCanceled, "the same command continues it", "the batch was stopped")
}

// update changes the batch and shows it.
func (l *localBatch) update(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
	l.batch.Count(false, false)
	_ = l.follower.show(&l.batch) // finishBatch reports a stdout that cannot be written
}

// runItem runs the job of an item, and records it if it succeeds. A failure of the job is not an
// error.
func (l *localBatch) runItem(ctx context.Context, e *transfer.BatchEntry, i int) error {
	spec := *e.Spec
	if due := time.Duration(spec.Deadline); due > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, due, transfer.Errorf(transfer.CodeDeadline,
			"the same command resumes it", "the job has not ended after %s", transfer.FormatDuration(due)))
		defer cancel()
		spec.Deadline = 0
	}
	fail := func(err error) {
		l.update(func() {
			l.batch.Items[i].State, l.batch.Items[i].Error = transfer.Failed, transfer.FailureOf(err)
		})
	}
	store, err := l.app.openStore(&spec, false)
	if err != nil {
		fail(err)
		return nil
	}
	defer store.Close()
	follow := func(job *transfer.Job) { l.update(func() { l.batch.Items[i].Follow(job) }) }
	job, err := l.app.resume(ctx, store, spec,
		func(ctx context.Context, store *localstore.Store, spec transfer.Spec) transfer.Job {
			return l.app.runOnce(ctx, l.opener, store, spec, follow)
		})
	if err != nil {
		fail(err)
		return nil
	}
	l.update(func() { l.batch.Items[i].Job = job.ID })
	follow(&job)
	if job.State == transfer.Succeeded {
		if err := l.items.Save(context.WithoutCancel(ctx), e.Key, &job, e.Spec, store); err != nil {
			return err
		}
	}
	return removeEnded(store, &job)
}
