package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/transferd/transferd/internal/queue"
	"github.com/transferd/transferd/internal/transfer"
)

func (a *app) jobsCancel() *cobra.Command {
	var states []string
	var destroy bool
	cmd := &cobra.Command{
		Use: "cancel ID... | --state STATE", Short: "Stop jobs",
		Long: `Stop the jobs named, or all that are in a state, and print how many those were. A running one is stopping
until its worker has stopped, which takes about a second; what it wrote stays, and jobs retry continues it. With
--destroy this waits until the job has stopped and destroys the drive that it made, also of a job that failed or was
canceled before.`,
		Example: "  transferctl jobs cancel --state queued          # all that wait\n" +
			"  transferctl jobs cancel --state queued,running  # all there are",
	}
	cmd.Flags().StringSliceVar(&states, "state", nil, "all jobs in these `states`: queued, running")
	cmd.Flags().BoolVar(&destroy, "destroy", false, "destroy the incomplete drives that the jobs made, too")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case (len(args) == 0) == (len(states) == 0):
			return transfer.Errorf(transfer.CodeInvalid, "name jobs, or give --state queued,running for all",
				"jobs cancel: which jobs?")
		case len(states) == 0 && destroy:
			return a.each(cmd, args, func(c *queue.Client, ctx context.Context, id string) (transfer.Job, error) {
				return a.cancelAndDestroy(ctx, c, id)
			})
		case len(states) == 0:
			return a.each(cmd, args, (*queue.Client).Cancel)
		}
		wanted, err := transfer.ParseStates(states)
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(wanted, transfer.State.Terminal); i >= 0 {
			return transfer.Errorf(transfer.CodeInvalid, "use queued or running",
				"--state: jobs that are %s have ended", wanted[i])
		}
		return a.withQueue(cmd, func(ctx context.Context, c *queue.Client) error {
			n, err := a.cancelAll(ctx, c, wanted, destroy)
			return errors.Join(err, a.printCount("canceled", n))
		})
	}
	return cmd
}

func (a *app) cancelAll(
	ctx context.Context, c *queue.Client, states []transfer.State, destroy bool,
) (n int, errs error) {
	if !destroy {
		return c.CancelAll(ctx, states)
	}
	jobs, err := c.Jobs(ctx, queue.Filter{States: states})
	if err != nil {
		return 0, err
	}
	for i := range jobs {
		if _, err := a.cancelAndDestroy(ctx, c, jobs[i].ID); err != nil {
			errs = errors.Join(errs, err)
			continue
		}
		n++
	}
	return n, errs
}

// stopWait is how long cancel --destroy waits for a job to stop. It is longer than a lease, with
// which the job of a dead worker ends.
const stopWait = time.Minute

// cancelAndDestroy cancels a job, waits until it has stopped, and destroys the drive that it made
// and did not complete.
func (a *app) cancelAndDestroy(ctx context.Context, c *queue.Client, id string) (transfer.Job, error) {
	job, err := c.Cancel(ctx, id)
	if transfer.CodeOf(err) == transfer.CodeInvalid { // it has ended
		job, err = c.Job(ctx, id)
	}
	if err == nil && !job.State.Terminal() {
		job, err = a.awaitEnd(ctx, c, id)
	}
	switch {
	case err != nil:
		return job, err
	case job.State == transfer.Succeeded:
		return job, transfer.Errorf(transfer.CodeInvalid, "transferctl drives destroy removes a drive that is complete",
			"job %s has succeeded, and its drive stays", id)
	case !job.DriveLeft:
		return job, nil
	}
	if err := a.destroyLeft(ctx, &job); err != nil {
		return job, fmt.Errorf("destroy what job %s left: %w", id, err)
	}
	return c.Job(ctx, id)
}

func (a *app) awaitEnd(ctx context.Context, c *queue.Client, id string) (job transfer.Job, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, stopWait, transfer.Errorf(transfer.CodeWaitTimeout,
		"once it has stopped, the same command destroys its drive", "job %s has not stopped after %s", id, stopWait))
	defer cancel()
	for job, err = range c.Watch(ctx, id) {
		if err != nil {
			return job, stoppedWaiting(ctx, id, err)
		}
	}
	return job, nil
}

// destroyLeft destroys the drives that a job made on its endpoint and did not complete.
func (a *app) destroyLeft(ctx context.Context, job *transfer.Job) error {
	f, err := a.newLeftoverFinder(ctx, job.Endpoint)
	if err != nil {
		return err
	}
	defer f.close()
	found, err := f.find(ctx)
	if err != nil {
		return err
	}
	for i := range found {
		if found[i].Job != job.ID {
			continue
		}
		if err := f.remove(ctx, &found[i]); err != nil {
			return err
		}
		if why := found[i].Kept; why != "" {
			return transfer.Errorf(transfer.CodeConflict, "destroy it with transferctl drives destroy if that is meant",
				"drive %s:%s stays: %s", job.Endpoint, found[i].Drive, why)
		}
		fmt.Fprintf(a.stderr, "job %s: drive %s:%s was destroyed\n", job.ID, job.Endpoint, found[i].Drive)
	}
	return nil
}
