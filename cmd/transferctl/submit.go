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

func (a *app) buildAndSubmit(ctx context.Context, f *jobFlags, source, target string) error {
	spec, err := a.build(f, source, target)
	if err != nil {
		return err
	}
	return a.submit(ctx, f, spec)
}

// submit runs the job here, or puts it into the queue and, if asked, follows it.
func (a *app) submit(ctx context.Context, f *jobFlags, spec transfer.Spec) error {
	a.warnOverwrite(&spec)
	if f.local {
		return a.runLocal(ctx, f, spec)
	}
	if spec.Source.IsStd() || spec.Target.IsStd() {
		return transfer.Errorf(transfer.CodeInvalid, "add --local", "- is this process's standard input or output, which a daemon cannot use")
	}
	c, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := a.checkBeforeQueueing(ctx, c, &spec); err != nil {
		return err
	}
	job, err := a.enqueue(ctx, c, f, spec)
	if err != nil {
		return err
	}
	if err := a.warnUnserved(ctx, c, &job); err != nil {
		return err
	}
	if f.wait {
		return a.watch(ctx, c, job.ID, f.timeout)
	}
	return a.print(job, func(w io.Writer) { fmt.Fprintln(w, job.ID) })
}

// warnOverwrite says what is about to be lost, as far as that is known before the job reads the
// drive.
func (a *app) warnOverwrite(s *transfer.Spec) {
	if s.Kind != transfer.Upload || s.Target.Drive == "" {
		return
	}
	rest := "what the drive holds behind it becomes zeros (--keep-tail leaves it)"
	if s.KeepTail {
		rest = "what the drive holds behind it stays"
	}
	fmt.Fprintf(a.stderr, "drive %s is overwritten by the image; %s\n", s.Target.Drive, rest)
}

// enqueue makes a job of the spec, or finds the one that there is.
func (a *app) enqueue(ctx context.Context, c *queue.Client, f *jobFlags, spec transfer.Spec) (transfer.Job, error) {
	if f.force {
		return c.Enqueue(ctx, spec)
	}
	job, there, err := c.EnqueueOnce(ctx, spec)
	if there {
		fmt.Fprintf(a.stderr, "job %s, which is %s, does the same; --force makes another one\n", job.ID, job.State)
	}
	return job, err
}

// checkBeforeQueueing finds mistakes that need no worker to be found: an endpoint that neither the config nor any worker
// knows, and, where the worker is this very machine, an image that cannot be read.
func (a *app) checkBeforeQueueing(ctx context.Context, c *queue.Client, spec *transfer.Spec) error {
	known := make(map[string]bool)
	for name := range a.cfg.Endpoints {
		known[name] = true
	}
	workers, err := c.Workers(ctx)
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
		return image.Check(spec.Source.Path, spec.Format)
	}
	return nil
}

// unknownEndpoint is the error of a name that none of the known endpoints has.
func unknownEndpoint(name string, known []string) error {
	hint := "transferctl endpoints list shows the known ones; add others to the config under `endpoints:`"
	near := slices.DeleteFunc(slices.Clone(known), func(k string) bool { return !transfer.Resembles(k, name) })
	switch {
	case name == "http" || name == "https":
		hint = "write the name that an endpoint has in the config, not its URL; " + hint
	case len(near) > 0:
		hint = "did you mean " + strings.Join(near, " or ") + "? " + hint
	}
	return transfer.Errorf(transfer.CodeInvalid, hint, "there is no endpoint named %q", name)
}

// watch follows a job to its end and exits with its outcome.
func (a *app) watch(ctx context.Context, c *queue.Client, id string, timeout time.Duration) error {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout, transfer.Errorf(transfer.CodeWaitTimeout, "transferctl jobs watch "+id+" goes on waiting",
			"job %s has not ended after %s and goes on", id, timeout))
		defer cancel()
	}
	f, waits := a.follow(), a.reportWaits(c)
	defer f.stop()
	for job, err := range c.Watch(ctx, id) {
		if err != nil {
			return stoppedWaiting(ctx, id, err)
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
	return stoppedWaiting(ctx, id, fmt.Errorf("job %s: the queue stopped telling of it", id))
}

func stoppedWaiting(ctx context.Context, id string, err error) error {
	cause := context.Cause(ctx)
	switch {
	case cause == nil:
		return err
	case transfer.CodeOf(cause) == transfer.CodeWaitTimeout:
		return cause
	}
	return transfer.Errorf(transfer.CodeCanceled, "transferctl jobs cancel "+id+" stops the job itself", "stopped waiting; job %s goes on", id)
}
