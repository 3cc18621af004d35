package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/transferd/transferd/internal/cli"
	"github.com/transferd/transferd/internal/queue"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/worker"
)

func (a *app) jobsCancel() *cobra.Command {
	var states []string
	var destroy bool
	cmd := &cobra.Command{
		Use: "cancel ID... | --state STATE", Short: "Cancel jobs",
		Long: `Cancel the jobs with these IDs, or all jobs in a state. With --state this prints the number of
jobs. A running job is stopping until its worker has stopped, which takes about a second. The
data that it wrote stays, and jobs retry continues the job. With --destroy this waits until the
job has stopped, and destroys the drive that the job made, also if the job failed or was
canceled before; of a migration, the copies of the drives, unless a server has them.`,
		Example: `  transferctl jobs cancel $job
  transferctl jobs cancel $job --destroy
  transferctl jobs cancel --state queued
  transferctl jobs cancel --state queued,running`,
	}
	cmd.Flags().StringSliceVar(&states, "state", nil, "all jobs in these `states`: queued,running")
	cmd.Flags().BoolVar(&destroy, "destroy", false, "also destroy the incomplete drives that the jobs made")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case (len(args) == 0) == (len(states) == 0):
			return cli.UsageError(cmd, "needs either ID or --state")
		case len(states) == 0 && destroy:
			return a.forEachJob(cmd, args, func(c *queue.Client, ctx context.Context, id string) (transfer.Job, error) {
				return a.cancelAndDestroy(ctx, c, id)
			})
		case len(states) == 0:
			return a.forEachJob(cmd, args, (*queue.Client).Cancel)
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

// cancelAll cancels all jobs in some states and returns their number.
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

// stopTimeout is how long cancel --destroy waits for a job to stop. It is longer than a lease,
// which must expire before the job of a dead worker ends.
const stopTimeout = time.Minute

// cancelAndDestroy cancels a job, waits until it has stopped, and destroys its incomplete drive.
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
		return job, transfer.Errorf(transfer.CodeInvalid, "to destroy the drive, use transferctl drives destroy",
			"job %s has succeeded, and its drive stays", id)
	case job.Migration != nil:
		return a.destroyCopies(ctx, c, &job)
	case !job.DriveLeft:
		return job, nil
	}
	if err := a.destroyLeft(ctx, &job); err != nil {
		return job, fmt.Errorf("destroy the drive of job %s: %w", id, err)
	}
	return c.Job(ctx, id)
}

// destroyCopies destroys the copies of drives that a migration left, which no server has.
func (a *app) destroyCopies(ctx context.Context, c *queue.Client, job *transfer.Job) (transfer.Job, error) {
	var ids []string
	for i := range job.Migration.Drives {
		if d := &job.Migration.Drives[i]; d.Job != "" {
			ids = append(ids, d.Job)
		}
	}
	switch {
	case job.Migration.Server != "":
		return *job, transfer.Errorf(transfer.CodeInvalid,
			"to destroy them, use transferctl api -e "+job.Endpoint+
				" servers UUID destroy, and transferctl drives destroy",
			"job %s has made server %s:%s, which stays with its drives", job.ID, job.Endpoint, job.Migration.Server)
	case len(ids) == 0:
		return *job, nil
	}
	// Its plan is without the copies before they are destroyed, so that a retry makes others.
	owned, err := c.Disown(ctx, job.ID)
	if err == nil && !owned {
		err = transfer.Errorf(transfer.CodeConflict, "cancel it again", "job %s was retried", job.ID)
	}
	if err != nil {
		return *job, err
	}
	s := &worker.Session{Job: worker.Job{ID: job.ID}}
	s.Spec.Target.Endpoint = job.Endpoint
	destroyed, err := a.opener().DestroyCopies(ctx, s, ids)
	for _, drive := range destroyed {
		fmt.Fprintf(a.stderr, "job %s: drive %s:%s was destroyed\n", job.ID, job.Endpoint, drive)
	}
	if err != nil {
		return *job, fmt.Errorf("destroy the copies of job %s: %w", job.ID, err)
	}
	return c.Job(ctx, job.ID)
}

// awaitEnd waits until a job has ended, for stopTimeout at most.
func (a *app) awaitEnd(ctx context.Context, c *queue.Client, id string) (job transfer.Job, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, stopTimeout, transfer.Errorf(transfer.CodeWaitTimeout,
		"run the same command again later", "job %s has not stopped after %s",
		id, transfer.FormatDuration(stopTimeout)))
	defer cancel()
	for job, err = range c.Watch(ctx, id) {
		if err != nil {
			return job, stoppedWaiting(ctx, "job", "jobs", id, err)
		}
	}
	return job, nil
}

// destroyLeft destroys the incomplete drives that a job made on its endpoint.
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
			return transfer.Errorf(transfer.CodeConflict, "if you are sure, use transferctl drives destroy",
				"drive %s:%s stays: %s", job.Endpoint, found[i].Drive, why)
		}
		fmt.Fprintf(a.stderr, "job %s: drive %s:%s was destroyed\n", job.ID, job.Endpoint, found[i].Drive)
	}
	return nil
}
