package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/flow"
	"github.com/transferd/transferd/internal/localstore"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/worker"
)

var errQuiesceLocally = transfer.Errorf(transfer.CodeInvalid, "leave --local out, and start transferd",
	"--mode quiesce needs a queue: if this process is killed, another one must start the servers again")

// runLocal runs the job in this process. Its checkpoints are on disk, so that the same command
// resumes it.
func (a *app) runLocal(ctx context.Context, f *jobFlags, spec transfer.Spec) error {
	for _, r := range []transfer.Ref{spec.Source, spec.Target} {
		if _, ok := a.cfg.Endpoints[r.Endpoint]; r.IsDrive() && !ok {
			return unknownEndpoint(r.Endpoint, a.cfg.EndpointNames())
		}
	}
	if spec.Mode == transfer.ModeQuiesce {
		return errQuiesceLocally
	}
	if spec.Target.IsStd() && a.output != outputText {
		return transfer.Errorf(transfer.CodeInvalid, "omit --output, or write to a file",
			"standard output cannot have both the image and JSON")
	}
	deadline := time.Duration(spec.Deadline)
	spec.Deadline = 0 // not part of the job's identity: the same command resumes it with a new deadline
	store, err := a.openStore(&spec, f.force)
	if err != nil {
		return err
	}
	defer store.Close()
	for _, limit := range []struct {
		duration time.Duration
		code     transfer.Code
		flag     string
	}{{f.timeout, transfer.CodeWaitTimeout, "--timeout"}, {deadline, transfer.CodeDeadline, "--deadline"}} {
		if limit.duration > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeoutCause(ctx, limit.duration, transfer.Errorf(limit.code,
				"the same command resumes it", "the job has not ended after %s (%s)",
				transfer.FormatDuration(limit.duration), limit.flag))
			defer cancel()
		}
	}
	opener := a.openerWith(f.headers.credentials(spec.Source))
	job, err := a.resume(ctx, store, spec,
		func(ctx context.Context, store *localstore.Store, spec transfer.Spec) transfer.Job {
			return a.attempt(ctx, opener, store, spec)
		})
	if err != nil {
		return err
	}
	return errors.Join(a.finish(&job), removeEnded(store, &job))
}

// removeEnded removes the state of a job that has ended, unless the same command resumes it.
func removeEnded(store *localstore.Store, job *transfer.Job) error {
	if job.State == transfer.Succeeded || !store.Resumable() || endsAgain(store, job.Error.Code) {
		return store.Remove()
	}
	return nil
}

// openStore opens the state of an earlier run of the same command, if there is one. With fresh it
// discards this state.
func (a *app) openStore(spec *transfer.Spec, fresh bool) (*localstore.Store, error) {
	store, err := localstore.Open(a.localFolder(), spec)
	if err != nil || !fresh || store.Attempt() == 1 {
		return store, err
	}
	if err := restart(store, spec); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return store, nil
}

// restart discards the progress of earlier attempts. The job keeps its ID if the target is a file:
// the partial file of an earlier attempt has this ID. A drive that an earlier attempt made stays as
// it is.
func restart(store *localstore.Store, spec *transfer.Spec) error {
	return store.Restart(spec.Target.IsFile())
}

// resume runs the job. If the source has changed since an earlier attempt, it runs the job again
// from the beginning, because the user wants the source as it is now.
func (a *app) resume(
	ctx context.Context, store *localstore.Store, spec transfer.Spec,
	attempt func(context.Context, *localstore.Store, transfer.Spec) transfer.Job,
) (transfer.Job, error) {
	job := attempt(ctx, store, spec)
	if store.Attempt() == 1 || job.Error == nil || job.Error.Code != transfer.CodeSourceChanged {
		return job, nil
	}
	fmt.Fprintf(a.stderr, "%s; starting over\n", job.Error.Message)
	if err := restart(store, &spec); err != nil {
		return job, err
	}
	return attempt(ctx, store, spec), nil
}

// endsAgain reports whether a resumed job would end with the same error, so that the same command
// must start over.
func endsAgain(store *localstore.Store, code transfer.Code) bool {
	switch code {
	case transfer.CodeInvalid, transfer.CodeSourceChanged, transfer.CodeMismatch:
		return true
	case transfer.CodeExists:
		return store.Finished()
	}
	return false
}

// undoFor is how long a command tries to destroy its clone after it was stopped. The same command
// tries again.
const undoFor = time.Minute

// attempt runs the job once, shows its progress, and returns it as a queue would.
func (a *app) attempt(
	ctx context.Context, opener worker.Opener, store *localstore.Store, spec transfer.Spec,
) transfer.Job {
	follower, waits := a.follow(), a.reportWaits(nil)
	defer follower.stop()
	return a.runOnce(ctx, opener, store, spec, func(job *transfer.Job) {
		waits.show(ctx, job)
		_ = follower.show(job)
	})
}

// runOnce runs the job once and returns it as a queue would. It calls observe with the job's
// progress.
func (a *app) runOnce(
	ctx context.Context, opener worker.Opener, store *localstore.Store, spec transfer.Spec,
	observe func(*transfer.Job),
) transfer.Job {
	started := time.Now()
	job := transfer.NewJob(store.ID(), &spec, started)
	job.State, job.Attempts, job.StartedAt = transfer.Running, store.Attempt(), &job.CreatedAt
	job.Worker, _ = os.Hostname()
	w := worker.New(worker.Config{
		Opener: opener, Policy: flow.DefaultPolicy, Log: zap.NewNop(), UndoFor: undoFor,
		Observe: func(p transfer.Progress) {
			job.Progress = p
			job.SetTimes(time.Now())
			observe(&job)
		},
	})
	claims := a.queueClaims(store.ID())
	defer claims.close()
	err := w.Run(ctx, nil, worker.Job{ID: store.ID(), Spec: spec}, &localStore{Store: store, queue: claims})
	now := time.Now().UTC()
	job.FinishedAt = &now
	job.SetTimes(now)
	job.State, job.Error = transfer.Succeeded, transfer.FailureOf(err)
	switch {
	case errors.Is(err, context.Canceled):
		job.State = transfer.Canceled
		job.Error.Message, job.Error.Hint = "stopped", "the same command resumes the job"
	case err != nil:
		job.State = transfer.Failed
	}
	if at, loadErr := store.Load(context.WithoutCancel(ctx)); loadErr == nil {
		job.NoteLeftover(&spec, &at.Plan, "transferctl drives cleanup "+spec.Target.Endpoint+": removes the drive")
	}
	return job
}
