package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/queue"
	"github.com/transferd/transferd/internal/transfer"
)

func (a *app) drivesDestroy() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "destroy ENDPOINT:UUID", Short: "Destroy a drive and all it holds",
		Long: `Destroy a drive and all it holds. On a terminal this asks first. Without a terminal and without --yes,
a drive that a job uses stays. So does every drive while the queue cannot be reached.`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask, and do not look whether a job uses the drive")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		c, drive, err := a.existingDrive(ctx, args[0])
		if err != nil {
			return err
		}
		info, err := a.driveInfo(ctx, c, drive)
		if err != nil {
			return err
		}
		q, err := a.queueIfAny(ctx)
		if q != nil {
			defer q.Close()
		}
		if !yes {
			err = a.mayDestroy(ctx, q, err, args[0], &info)
		}
		if err == nil {
			err = a.destroyOf(ctx, c, q, &info)
		}
		if err != nil {
			return err
		}
		return a.print(map[string]string{"destroyed": drive}, func(w io.Writer) { fmt.Fprintln(w, drive) })
	}
	return cmd
}

// mayDestroy asks on a terminal. Without one it refuses if a job uses the drive, or if that is not
// known: unknown is why the queue, q, could not be reached.
func (a *app) mayDestroy(
	ctx context.Context, q *queue.Client, unknown error, address string, info *api.DriveInfo,
) error {
	name, _, _ := strings.Cut(address, ":")
	users, err := a.usersOf(ctx, q, a.namesOf(name), info.UUID)
	err = firstError(unknown, err)
	if !a.interactive() {
		switch {
		case err != nil:
			return &transfer.Error{Op: "find out whether a job uses the drive", Code: transfer.CodeOf(err), Err: err,
				Hint: "--yes destroys it without knowing"}
		case len(users) > 0:
			return transfer.Errorf(transfer.CodeConflict,
				"cancel the job, or destroy the drive all the same with --yes",
				"drive %s is in use: %s", info.UUID, strings.Join(users, ", "))
		}
		return nil
	}
	question := fmt.Sprintf("destroy drive %s (%s, %s)?", info.UUID, info.Name, human(info.Size))
	switch {
	case err != nil:
		question = fmt.Sprintf("whether a job uses it is not known (%v); ", err) + question
	case len(users) > 0:
		question = "it is in use: " + strings.Join(users, ", ") + "; " + question
	}
	return a.confirm(question)
}

// destroyOf destroys a drive, and takes it from the job that left it. q may be nil.
func (a *app) destroyOf(ctx context.Context, c *api.Client, q *queue.Client, info *api.DriveInfo) error {
	job := transfer.MakerOf(info.Tags)
	if job == "" || q == nil {
		return a.destroy(ctx, c, info.UUID)
	}
	// Disown returns false if the job has not ended, or has succeeded: the drive is destroyed all
	// the same.
	if _, err := q.Disown(ctx, job); err != nil {
		return err
	}
	if err := a.destroy(ctx, c, info.UUID); err != nil {
		return err
	}
	return q.Destroyed(ctx, job)
}

// destroy destroys a drive, which is gone also if only the answer to an earlier call was lost.
func (a *app) destroy(ctx context.Context, c *api.Client, drive string) error {
	tries := 0
	return a.retrying(ctx, anyFailure, func() error {
		tries++
		err := c.Destroy(ctx, drive)
		if tries > 1 && transfer.CodeOf(err) == transfer.CodeNotFound {
			return nil
		}
		return err
	})
}
