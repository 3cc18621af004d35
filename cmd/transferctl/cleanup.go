package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/transferd/transferd/internal/transfer"
)

func (a *app) drivesCleanup() *cobra.Command {
	var yes bool
	var olderThan time.Duration
	cmd := &cobra.Command{
		Use:   "cleanup ENDPOINT:",
		Short: "List the incomplete drives that failed, canceled or lost jobs left; with --yes, destroy them",
		Long: `List the incomplete drives that failed, canceled or lost jobs left, with their age and the
reason. With --yes, destroy them.

A drive is kept if a job that has not ended uses it, if a server uses it, if it was renamed, or if
its tag ` + transfer.IncompleteTag + ` was removed. A lost job has a record neither in the queue
nor on this host. Its drive is kept for an hour, because a job of another queue may still write to
it; --older-than sets another age.`,
		Example: `  transferctl drives cleanup zrh:
  transferctl drives cleanup zrh: --older-than 7d --yes`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.operands(a.endpointOperand),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "destroy the drives that are listed and not kept")
	durationFlag(cmd.Flags(), &olderThan, "older-than",
		"keep the drives of jobs that were enqueued less than this `duration` ago, such as 7d")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		f, err := a.newLeftoverFinder(ctx, args[0])
		if err != nil {
			return err
		}
		defer f.close()
		if cmd.Flags().Changed("older-than") {
			f.minAge, f.minAgeLost = olderThan, olderThan
		}
		found, err := f.find(ctx)
		if err != nil {
			return err
		}
		if yes {
			err = f.removeAll(ctx, found)
		}
		listErr := printList(a, found, func(w io.Writer) { writeLeftovers(w, found) })
		return errors.Join(err, listErr, a.summarizeCleanup(found, yes))
	}
	return cmd
}

func (f *leftoverFinder) removeAll(ctx context.Context, found []leftover) (errs error) {
	for i := range found {
		if found[i].Kept == "" {
			errs = errors.Join(errs, f.remove(ctx, &found[i]))
		}
	}
	return errs
}

func writeLeftovers(w io.Writer, found []leftover) {
	if len(found) == 0 {
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer t.Flush()
	fmt.Fprintln(t, "DRIVE\tSIZE\tAGE\tJOB\tNAME\tWHY")
	for i := range found {
		l := &found[i]
		why := l.Reason
		switch {
		case l.Removed:
			why += "; removed"
		case l.Kept != "":
			why += "; kept: " + l.Kept
		}
		age := time.Duration(l.Age * float64(time.Second))
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", l.Drive, sizeText(l.Size), ageText(age), l.Job, l.Name, why)
	}
}

// summarizeCleanup prints how many drives were found or removed, and what to do next.
func (a *app) summarizeCleanup(found []leftover, yes bool) error {
	var n, kept int
	var size int64
	for i := range found {
		if found[i].Kept != "" {
			kept++
		} else if found[i].Removed == yes {
			n++
			size += found[i].Size
		}
	}
	text, drives := "no job has left an incomplete drive", transfer.Count(n, "drive")
	switch {
	case yes && n > 0:
		text = fmt.Sprintf("removed %s, %s", drives, sizeText(size))
	case n > 0:
		text = fmt.Sprintf("%s, %s; --yes removes those that are not kept", drives, sizeText(size))
	case len(found) > 0:
		text = "nothing to remove"
	}
	if kept > 0 {
		text += fmt.Sprintf("; %d kept", kept)
	}
	_, err := fmt.Fprintln(a.stderr, text)
	return err
}
