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

// runLocal runs the job in this process. What it remembers is on disk, so the same command resumes it.
func (a *app) runLocal(ctx context.Context, f *jobFlags, spec transfer.Spec) error {
	for _, r := range []transfer.Ref{spec.Source, spec.Target} {
		if _, ok := a.cfg.Endpoints[r.Endpoint]; r.IsDrive() && !ok {
			return unknownEndpoint(r.Endpoint, a.cfg.EndpointNames())
		}
	}
	if spec.Target.IsStd() && a.output != outputText {
		return transfer.Errorf(transfer.CodeInvalid, "leave --output out, or write to a file", "standard output cannot take both the image and JSON")
	}
	deadline := time.Duration(spec.Deadline)
	spec.Deadline = 0 // the same command resumes the job, in as much time as it now says
	j, err := a.openStore(&spec, f.force)
	if err != nil {
		return err
	}
	defer j.Close()
	if f.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, f.timeout,
			transfer.Errorf(transfer.CodeWaitTimeout, "the same command resumes it", "the job has not ended after %s", f.timeout))
		defer cancel()
	}
	if deadline > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, deadline, transfer.Errorf(transfer.CodeDeadline, "the same command resumes it", "the job has not ended by its deadline"))
		defer cancel()
	}
	job, err := a.resume(ctx, j, spec)
	if err != nil {
		return err
	}
	if job.State == transfer.Succeeded || !j.Resumable() || final(j, job.Error.Code) {
		return errors.Join(a.finish(&job), j.Remove())
	}
	return a.finish(&job)
}

// openStore takes up what an earlier run of the same command left, or with fresh drops it.
func (a *app) openStore(spec *transfer.Spec, fresh bool) (*localstore.Store, error) {
	j, err := localstore.Open(a.localFolder(), spec)
	if err != nil || !fresh || j.Attempt() == 1 {
		return j, err
	}
	if err := restart(j, spec); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

// restart drops what earlier attempts did. A file that one of them began carries the job's ID, so
// the job keeps its ID and with it the file; a drive that one of them made is left alone.
func restart(j *localstore.Store, spec *transfer.Spec) error { return j.Restart(spec.Target.IsFile()) }

// resume runs the job once. If it resumed and the source has changed since the earlier run, it runs
// once more from the beginning: the command is about the source as it is now.
func (a *app) resume(ctx context.Context, j *localstore.Store, spec transfer.Spec) (transfer.Job, error) {
	job := a.attempt(ctx, j, spec)
	if j.Attempt() == 1 || job.Error == nil || job.Error.Code != transfer.CodeSourceChanged {
		return job, nil
	}
	fmt.Fprintf(a.stderr, "%s; starting over\n", job.Error.Message)
	if err := restart(j, &spec); err != nil {
		return job, err
	}
	return a.attempt(ctx, j, spec), nil
}

// final reports whether the same command has to start over, because resuming would end in the same
// way.
func final(j *localstore.Store, code transfer.Code) bool {
	switch code {
	case transfer.CodeInvalid, transfer.CodeSourceChanged, transfer.CodeMismatch:
		return true
	case transfer.CodeExists:
		return j.Finished()
	}
	return false
}

// attempt runs the job once and returns it as the queue would show it.
func (a *app) attempt(ctx context.Context, j *localstore.Store, spec transfer.Spec) transfer.Job {
	started := time.Now()
	job := transfer.NewJob(j.ID(), &spec, started)
	job.State, job.Attempts, job.StartedAt = transfer.Running, j.Attempt(), &job.CreatedAt
	job.Worker, _ = os.Hostname()
	show, waits := a.follow(), a.reportWaits(nil)
	defer show.stop()
	w := worker.New(worker.Config{
		Opener: a.opener(), Policy: flow.DefaultPolicy, Log: zap.NewNop(),
		Observe: func(p transfer.Progress) {
			job.Progress = p
			job.Time(time.Now())
			waits.show(ctx, &job)
			_ = show.show(&job)
		},
	})
	claims := a.queueClaims(j.ID())
	defer claims.close()
	err := w.Run(ctx, nil, worker.Job{ID: j.ID(), Spec: spec}, &localStore{Store: j, queue: claims})
	now := time.Now().UTC()
	job.FinishedAt = &now
	job.Time(now)
	job.State, job.Error = transfer.Succeeded, transfer.FailureOf(err)
	switch {
	case errors.Is(err, context.Canceled):
		job.State = transfer.Canceled
		job.Error.Message, job.Error.Hint = "stopped", "the same command resumes the job"
	case err != nil:
		job.State = transfer.Failed
	}
	if at, loadErr := j.Load(context.WithoutCancel(ctx)); loadErr == nil {
		job.NoteLeftover(&spec, &at.Plan, "transferctl drives cleanup "+spec.Target.Endpoint+": removes the drive")
	}
	return job
}
