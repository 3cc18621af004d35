package worker

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/flow"
	"github.com/transferd/transferd/internal/transfer"
)

// partPoll is how often the jobs are looked at that copy the drives of a server.
const partPoll = time.Second

// copyClones has a job for each clone copy it, and waits until all have succeeded. It fails as soon as
// one has not. The IDs of the jobs are in the plan before the jobs exist, so that however often this
// is interrupted, a clone has one job.
func (a *attempt) copyClones(ctx context.Context) error {
	if a.migration().Copied() {
		return nil
	}
	a.setStep(transfer.StepCopying)
	defer a.setStep("")
	a.updateMigration(func(p *transfer.MigrationPlan) {
		for i := range p.Drives {
			if p.Drives[i].Job == "" {
				p.Drives[i].Job = a.parts.NewID()
			}
		}
	})
	if err := a.state.saveUntilDone(ctx); err != nil {
		return err
	}
	for {
		done, err := a.checkParts(ctx)
		if done || err != nil {
			return err
		}
		if err := flow.Wait(ctx, a.drain, partPoll); err != nil {
			return err
		}
	}
}

// checkParts looks at the jobs that copy drives, and enqueues those that do not exist. done says that
// all have succeeded.
func (a *attempt) checkParts(ctx context.Context) (done bool, err error) {
	jobs, err := a.partJobs(ctx)
	if err != nil {
		return false, err
	}
	a.reportParts(jobs)
	for i, d := range a.migration().Drives {
		job, exists := jobs[d.Job]
		switch {
		case d.Copy != "": // its job may have been deleted since
		case !exists:
			err = a.storeCall(ctx, a.source, func(ctx context.Context) error {
				return a.parts.EnqueuePart(ctx, d.Job, a.partSpec(&d))
			})
		case job.State == transfer.Succeeded:
			a.updateMigration(func(p *transfer.MigrationPlan) { p.Drives[i].Copy = job.Drive })
			err = a.state.saveUntilDone(ctx)
		case job.State.Terminal():
			err = partError(&d, &job)
		}
		if err != nil {
			return false, err
		}
	}
	return a.migration().Copied(), nil
}

// partJobs reads the jobs that copy drives, by their IDs.
func (a *attempt) partJobs(ctx context.Context) (map[string]transfer.Job, error) {
	var list []transfer.Job
	err := a.storeCall(ctx, a.source, func(ctx context.Context) (err error) {
		list, err = a.parts.Parts(ctx, a.migration().Jobs())
		return err
	})
	jobs := make(map[string]transfer.Job, len(list))
	for _, job := range list {
		jobs[job.ID] = job
	}
	return jobs, err
}

// partSpec is the job that copies the clone of a drive: what it does besides is as the user asked for
// the migration.
func (a *attempt) partSpec(d *transfer.MigratingDrive) transfer.Spec {
	s := *a.spec()
	s.Kind, s.Batch = transfer.Clone, a.session.ID
	s.Source.Drive, s.Name, s.Tags, s.Readers = d.Snapshot.Drive, d.Name, d.Tags, d.Readers
	s.Mode, s.QuiesceTimeout, s.ForceStop, s.AllowNewAddress = "", 0, false, false
	s.VLANs, s.Start, s.Deadline = nil, false, 0
	return s
}

// partError is the error of a migration whose copy of a drive has not succeeded.
func partError(d *transfer.MigratingDrive, job *transfer.Job) error {
	e := &transfer.Error{
		Code: transfer.CodeFailed, Err: fmt.Errorf("copy drive %s: job %s is %s", d.Drive, job.ID, job.State),
		Hint: "run the migration again",
	}
	if job.Error != nil {
		e.Code, e.Hint, e.Offset = job.Error.Code, job.Error.Hint, job.Error.Offset
		e.Err = fmt.Errorf("copy drive %s: job %s: %s", d.Drive, job.ID, job.Error.Message)
	}
	return e
}

// reportParts adds up what the jobs have done. One that has not begun has its whole drive to move.
func (a *attempt) reportParts(jobs map[string]transfer.Job) {
	var notBegun int64
	a.report(func(m *transfer.Migration) {
		for i, d := range a.migration().Drives {
			job, ok := jobs[d.Job]
			if ok {
				m.Drives[i].Job, m.Drives[i].State, m.Drives[i].Target = job.ID, job.State, job.Drive
			}
			if job.Bytes.Total == 0 {
				notBegun += m.Drives[i].Size
			}
		}
	})
	a.state.update(func(p *transfer.Progress) {
		sum := transfer.Progress{Verified: len(jobs) > 0}
		for _, job := range jobs {
			sum.AddPart(&job.Progress)
		}
		sum.Bytes.Total += notBegun
		p.Chunks, p.Bytes, p.Retries, p.Encoding = sum.Chunks, sum.Bytes, sum.Retries, sum.Encoding
		p.Verified = sum.Verified
	})
}

// undoCopies ends the jobs that copy drives, and destroys the copies, unless all are complete. The
// plan is void then: the next attempt clones all drives again, and copies the clones.
func (a *attempt) undoCopies(ctx context.Context, outcome error) error {
	plan := a.migration()
	if plan == nil || outcome == nil || plan.Copied() {
		return nil
	}
	if err := a.endParts(ctx); err != nil {
		return err
	}
	var err error
	if ids := plan.Jobs(); len(ids) > 0 {
		err = a.tryDestroy(ctx, "copy of a drive", func(ctx context.Context) error {
			return control(ctx, a.target, func(ctx context.Context) error {
				if err := a.state.saveUntilDone(ctx); err != nil {
					return err
				}
				_, err := a.opener.DestroyCopies(ctx, a.session, ids)
				return err
			})
		})
	}
	if handedOn(ctx, err) != nil {
		return err
	}
	if err != nil {
		a.log.Error("copies of drives stay", zap.Error(err))
		a.warn("copies of drives stay at %s (%v): transferctl drives cleanup %s: removes them",
			a.spec().Target.Endpoint, err, a.spec().Target.Endpoint)
	}
	a.updateMigration(func(p *transfer.MigrationPlan) {
		p.Config = ""
		for i := range p.Drives {
			p.Drives[i].Job, p.Drives[i].Copy = "", ""
		}
	})
	return a.saveEnd(ctx)
}

// endParts cancels the jobs that copy drives, and waits until they have ended.
func (a *attempt) endParts(ctx context.Context) error {
	for {
		jobs, err := a.partJobs(ctx)
		if err != nil {
			return err
		}
		running := false
		for id, job := range jobs {
			if job.State.Terminal() {
				continue
			}
			running = true
			if job.Stopping {
				continue
			}
			err := a.storeCall(ctx, a.source, func(ctx context.Context) error { return a.parts.CancelPart(ctx, id) })
			if err != nil {
				return err
			}
		}
		if !running {
			return nil
		}
		if err := flow.Wait(ctx, a.drain, partPoll); err != nil {
			return err
		}
	}
}
