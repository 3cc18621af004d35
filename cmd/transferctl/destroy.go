package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/localstore"
	"github.com/transferd/transferd/internal/queue"
	"github.com/transferd/transferd/internal/transfer"
)

func (a *app) drivesDestroy() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "destroy ENDPOINT:UUID|NAME",
		Short: "Destroy a drive and its content",
		Long: `Destroy a drive and its content. On a terminal this asks first. Without a terminal and without
--yes, it refuses if a job uses the drive, or if the queue cannot be reached.`,
		Example: `  transferctl drives destroy zrh:$drive
  transferctl drives destroy zrh:$drive --yes`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.operands(a.driveOperand),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask, and do not check whether a job uses the drive")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		c, drive, err := a.existing(ctx, &driveObjects, args[0])
		if err != nil {
			return err
		}
		info, err := a.driveInfo(ctx, c, drive)
		if err != nil {
			return err
		}
		if err := a.checkNotHeld(ctx, c, args[0], &info); err != nil {
			return err
		}
		q, queueErr := a.queueIfAny(ctx)
		if q != nil {
			defer q.Close()
		}
		if !yes {
			if err := a.checkDestroy(ctx, q, queueErr, args[0], &info); err != nil {
				return err
			}
		}
		if err := a.disownAndDestroy(ctx, c, q, &info); err != nil {
			return err
		}
		return a.print(map[string]string{"destroyed": drive}, func(w io.Writer) { fmt.Fprintln(w, drive) })
	}
	return cmd
}

// checkNotHeld fails if a running server holds the drive: no endpoint destroys or resizes it then.
func (a *app) checkNotHeld(ctx context.Context, c *api.Client, address string, info *api.DriveInfo) error {
	names := a.serverNames(ctx, c, []api.DriveInfo{*info})
	for _, h := range newDriveRow(info, names).HeldBy {
		if h.Server != "" {
			endpoint, _, _ := strings.Cut(address, ":")
			return transfer.Errorf(transfer.CodeConflict,
				"first stop it: transferctl servers shutdown "+endpoint+":"+h.Server,
				"drive %s is in use: %s holds it", info.UUID, heldText(h))
		}
	}
	return nil
}

// checkDestroy asks on a terminal. Without one it refuses if a job uses the drive, or if that is
// not known: queueErr is the error of connecting to the queue, q.
func (a *app) checkDestroy(
	ctx context.Context, q *queue.Client, queueErr error, address string, info *api.DriveInfo,
) error {
	name, _, _ := strings.Cut(address, ":")
	users, err := a.usersOf(ctx, q, a.namesOf(name), info.UUID)
	err = firstError(queueErr, err)
	if !a.interactive() {
		switch {
		case err != nil:
			return &transfer.Error{Op: "check whether a job uses the drive", Code: transfer.CodeOf(err), Err: err,
				Hint: "--yes destroys it without this check"}
		case len(users) > 0:
			return transfer.Errorf(transfer.CodeConflict,
				"cancel the job, or destroy the drive with --yes",
				"drive %s is in use: %s", info.UUID, strings.Join(users, ", "))
		}
		return nil
	}
	question := fmt.Sprintf("destroy drive %s (%s, %s)?", info.UUID, info.Name, sizeText(info.Size))
	switch {
	case err != nil:
		question = fmt.Sprintf("it is not known whether a job uses the drive (%v); ", err) + question
	case len(users) > 0:
		question = "the drive is in use: " + strings.Join(users, ", ") + "; " + question
	}
	return a.confirm(question)
}

// disownAndDestroy destroys a drive. Before that it removes the drive from the record of the job
// that left it, so that a retry of the job makes another one. q may be nil.
func (a *app) disownAndDestroy(ctx context.Context, c *api.Client, q *queue.Client, info *api.DriveInfo) error {
	job := transfer.MakerOf(info.Tags)
	if job == "" {
		return a.destroy(ctx, c, info.UUID)
	}
	if q != nil {
		// Disown returns false if the job has not ended, or has succeeded. The drive is destroyed
		// anyway.
		if _, err := q.Disown(ctx, job); err != nil {
			return err
		}
	}
	free, err := a.destroyOf(ctx, c, job, info.UUID)
	if err == nil && !free {
		err = a.destroy(ctx, c, info.UUID) // as the user has confirmed
	}
	if err != nil || q == nil {
		return err
	}
	return q.Destroyed(ctx, job)
}

// destroyOf destroys a drive that a job made. If it is a --local job of this host, its folder is
// removed too, so that the same command makes another drive. free is false if that job runs; then
// the drive is not destroyed.
func (a *app) destroyOf(ctx context.Context, c *api.Client, job, drive string) (free bool, err error) {
	return localstore.Discard(a.localFolder(), job, func() error { return a.destroy(ctx, c, drive) })
}

// destroy destroys a drive. If a retry does not find the drive, only the response to an earlier
// call was lost.
func (a *app) destroy(ctx context.Context, c *api.Client, drive string) error {
	tries := 0
	return a.retry(ctx, anyFailure, func() error {
		tries++
		err := c.DestroyDrive(ctx, drive)
		if tries > 1 && transfer.CodeOf(err) == transfer.CodeNotFound {
			return nil
		}
		return err
	})
}
