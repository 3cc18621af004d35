package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/transferd/transferd/internal/image"
	"github.com/transferd/transferd/internal/queue"
	"github.com/transferd/transferd/internal/transfer"
)

// buildAndSubmit submits the job that the flags and the addresses describe.
func (a *app) buildAndSubmit(ctx context.Context, f *jobFlags, source, target string) error {
	spec, err := a.build(ctx, f, source, target)
	if err != nil {
		return err
	}
	return a.submit(ctx, f, spec)
}

// submit runs the job in this process, or enqueues it and, with --wait, follows it.
func (a *app) submit(ctx context.Context, f *jobFlags, spec transfer.Spec) error {
	if err := f.headers.check(spec.Source, f.local); err != nil {
		return err
	}
	a.warnOverwrite(&spec)
	if f.local {
		return a.runLocal(ctx, f, spec)
	}
	if spec.Source.IsStd() || spec.Target.IsStd() {
		return transfer.Errorf(transfer.CodeInvalid, "add --local",
			"a daemon cannot use -, the standard input or output of this process")
	}
	c, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	return a.submitTo(ctx, c, f, spec, nil)
}

// submitTo is submit with a connection to the queue. plan is that of a migration.
func (a *app) submitTo(
	ctx context.Context, c *queue.Client, f *jobFlags, spec transfer.Spec, plan *transfer.Migration,
) error {
	if err := a.checkBeforeQueueing(ctx, c, &spec); err != nil {
		return err
	}
	job, err := a.enqueue(ctx, c, f, spec)
	if err != nil {
		return err
	}
	if job.Migration == nil {
		job.Migration = plan
	}
	if err := a.warnUnserved(ctx, c, &job); err != nil {
		return err
	}
	if f.wait {
		return a.watch(ctx, c, job.ID, f.timeout)
	}
	return a.print(job, func(w io.Writer) { fmt.Fprintln(w, job.ID) })
}

// warnOverwrite warns that the content of an existing drive will be lost.
func (a *app) warnOverwrite(s *transfer.Spec) {
	if s.Kind != transfer.Upload || s.Target.Drive == "" {
		return
	}
	tail := "what the drive holds behind it becomes zeros (--keep-tail keeps it)"
	if s.KeepTail {
		tail = "what the drive holds behind it stays"
	}
	fmt.Fprintf(a.stderr, "drive %s is overwritten by the image; %s\n", s.Target.Drive, tail)
}

// enqueue enqueues a job for the spec, or returns the same job if the queue has it already.
func (a *app) enqueue(ctx context.Context, c *queue.Client, f *jobFlags, spec transfer.Spec) (transfer.Job, error) {
	if f.force {
		return c.Enqueue(ctx, spec)
	}
	job, exists, err := c.EnqueueOnce(ctx, spec)
	switch {
	case exists && spec.Kind == transfer.Migrate:
		fmt.Fprintf(a.stderr, "job %s, which is %s, moves this server and goes on\n", job.ID, job.State)
	case exists:
		fmt.Fprintf(a.stderr, "job %s, which is %s, does the same; --force makes another one\n", job.ID, job.State)
	}
	return job, err
}

// checkBeforeQueueing finds mistakes before a worker does: an endpoint that neither the config nor
// a worker has, and, if the worker runs on this host, an image that is not readable.
func (a *app) checkBeforeQueueing(ctx context.Context, c *queue.Client, spec *transfer.Spec) error {
	known := make(map[string]bool)
	for name := range a.cfg.Endpoints {
		known[name] = true
	}
	workers, err := a.workers(ctx, c)
	if err != nil {
		return err
	}
	for _, w := range workers {
		for _, name := range w.Endpoints {
			known[name] = true
		}
	}
	for _, r := range []transfer.Ref{spec.Source, spec.Target} {
		if r.IsDrive() && !known[r.Endpoint] {
			return unknownEndpoint(r.Endpoint, sortedKeys(known))
		}
	}
	if a.cfg.Redis == "" && spec.Kind == transfer.Upload && spec.Source.IsFile() {
		return image.Check(spec.Source.Path, image.Options{Format: spec.Format, Follow: spec.Follow})
	}
	return nil
}

// unknownEndpoint is the error of a name that is not among the known endpoints.
func unknownEndpoint(name string, known []string) error {
	hint := "transferctl endpoints list lists the endpoints; add others to the config under `endpoints:`"
	similar := slices.DeleteFunc(slices.Clone(known), func(k string) bool { return !transfer.Resembles(k, name) })
	switch {
	case name == "http" || name == "https":
		hint = "write the name that an endpoint has in the config, not its URL; " + hint
	case len(similar) > 0:
		hint = "did you mean " + strings.Join(similar, " or ") + "? " + hint
	}
	return transfer.Errorf(transfer.CodeInvalid, hint, "there is no endpoint named %q", name)
}

// watch follows a job to its end and exits with its outcome.
func (a *app) watch(ctx context.Context, c *queue.Client, id string, timeout time.Duration) error {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout, transfer.Errorf(transfer.CodeWaitTimeout,
			"transferctl jobs watch "+id+" waits again", "job %s has not ended after %s and goes on",
			id, transfer.FormatDuration(timeout)))
		defer cancel()
	}
	f, waits := a.follow(), a.reportWaits(c)
	defer f.stop()
	for job, err := range c.Watch(ctx, id) {
		if err != nil {
			return stoppedWaiting(ctx, "job", "jobs", id, err)
		}
		waits.show(ctx, &job)
		if err := f.show(&job); err != nil {
			return err
		}
		if job.State.Terminal() {
			f.stop()
			return a.finish(&job)
		}
	}
	return stoppedWaiting(ctx, "job", "jobs", id, fmt.Errorf("job %s: the queue sent no end of it", id))
}

// stoppedWaiting is the error of a wait that ended before what it waits for: kind is job or batch,
// and commands what its commands begin with.
func stoppedWaiting(ctx context.Context, kind, commands, id string, err error) error {
	cause := context.Cause(ctx)
	switch {
	case cause == nil:
		return err
	case transfer.CodeOf(cause) == transfer.CodeWaitTimeout:
		return cause
	}
	return transfer.Errorf(transfer.CodeCanceled,
		fmt.Sprintf("transferctl %s cancel %s cancels the %s", commands, id, kind),
		"stopped waiting; %s %s goes on", kind, id)
}
