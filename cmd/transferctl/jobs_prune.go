package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/transferd/transferd/internal/queue"
	"github.com/transferd/transferd/internal/transfer"
)

func (a *app) jobsPrune() *cobra.Command {
	var states []string
	olderThan := 7 * 24 * time.Hour
	cmd := &cobra.Command{
		Use: "prune", Short: "Remove the records of jobs that have ended",
		Long: `Remove the records of jobs that have ended, and print their number. Incomplete drives that the
jobs made stay; they are named on stderr.`,
		Example: `  transferctl jobs prune
  transferctl jobs prune --state failed,canceled --older-than 30d`,
		Args: cobra.NoArgs,
	}
	statesFlag(cmd, &states)
	durationFlag(cmd.Flags(), &olderThan, "older-than", "only jobs that ended at least this `duration` ago")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		wanted, err := transfer.ParseStates(states)
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(wanted, func(s transfer.State) bool { return !s.Terminal() }); i >= 0 {
			return transfer.Errorf(transfer.CodeInvalid,
				"use succeeded, failed or canceled; transferctl jobs cancel ends jobs",
				"--state: jobs that are %s have not ended", wanted[i])
		}
		return a.withQueue(cmd, func(ctx context.Context, c *queue.Client) error {
			n, err := c.Prune(ctx, queue.PruneOptions{OlderThan: olderThan, States: wanted, Left: a.printLeft})
			if err != nil {
				return err
			}
			return a.printCount("pruned", n)
		})
	}
	return cmd
}

// printLeft names the incomplete drive of a job whose record is removed.
func (a *app) printLeft(job transfer.Job) {
	drive := fmt.Sprintf("drive %s:%s stays, incomplete", job.Endpoint, job.Drive)
	if job.Drive == "" {
		drive = fmt.Sprintf("an incomplete drive with the tag %s may exist on %s",
			transfer.JobTag(job.ID), job.Endpoint)
	}
	fmt.Fprintf(a.stderr, "job %s: %s; transferctl drives cleanup %s: removes it\n", job.ID, drive, job.Endpoint)
}
