package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/transferd/transferd/internal/batch"
	"github.com/transferd/transferd/internal/cli"
	"github.com/transferd/transferd/internal/queue"
	"github.com/transferd/transferd/internal/transfer"
)

func (a *app) batchCommand() *cobra.Command {
	return group("batch", "Run many jobs from one plan file",
		`  transferctl batch run plan.yaml --dry-run
  transferctl batch run plan.yaml --wait
  transferctl batch list`,
		a.batchRun(), a.batchList(), a.batchShow(), a.batchWatch(),
		a.batchAction("pause", "Enqueue no further items of a batch",
			"Enqueue no further items of a batch. Jobs that are in the queue already go on.",
			(*queue.Client).PauseBatch),
		a.batchAction("resume", "Continue a paused batch", "", (*queue.Client).ResumeBatch),
		a.batchAction("cancel", "Cancel a batch",
			"Cancel all jobs of a batch that have not ended. What they have stored stays, and batch retry\n"+
				"continues them.",
			(*queue.Client).CancelBatch),
		a.batchRetry(), a.batchReport())
}

// batchFlags are the flags of batch run.
type batchFlags struct {
	*jobFlags
	dryRun   bool
	onChange string
	jobs     int
}

func (a *app) batchRun() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run FILE",
		Short: "Check a plan, and run what is not done of it",
		Long: `Check a plan, and run what is not done of it. The plan is YAML, or CSV whose first row has the same
words. An item has a source and a target; what it does follows from these: a file to a drive is
an upload, a drive to a file a download, a drive to a drive a clone.

  defaults: {target: "zrh:", tags: [migrated], labels: {wave: "1"}}
  items:
    - source: images/*.img       # an item for each file; the drive is named after it
    - source: web.img
      target: ["zrh:", "lvs:"]   # an item for each target
      name: web
    - source: zrh:tag=prod       # drives with this tag; zrh:* is all of them
      target: lvs:

Other words are the flags of upload, download and clone: name, size, tags, readers, format, mode,
verify, queue, priority, deadline, overwrite and so on. A word of an item comes before a flag that
is typed here, and that before a default of the plan.

All items are checked first; if a check finds an error, nothing is started and the status is 2.
--dry-run only checks. An item that an earlier batch has done is skipped, if its target still
holds the image. If the source has changed since, --on-change says what happens. Two runs of one
plan at the same time are one batch.

Without --wait this prints the ID of the batch. With --wait or --local the status is 0 if all
items succeeded or were done already, else 1.`,
		Example: `  transferctl batch run plan.yaml --dry-run
  transferctl batch run plan.yaml --wait -o json
  transferctl batch run plan.csv --local --jobs 4
  transferctl batch run plan.yaml --on-change overwrite --limit-rate 50M --wait`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.operands(fileOperand),
	}
	f := &batchFlags{jobFlags: newRunFlags(cmd, transfer.Upload)}
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "check the plan, and start nothing")
	cmd.Flags().StringVar(&f.onChange, "on-change", string(batch.ChangeFails),
		"`action` for a done item whose source or target has changed: fail, new or overwrite")
	cmd.Flags().IntVar(&f.jobs, "jobs", 2, "with --local, run `n` items at once")
	completeValues(cmd, "on-change", string(batch.ChangeFails), string(batch.ChangeMakesNew),
		string(batch.ChangeOverwrites))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case !batch.OnChange(f.onChange).Valid():
			return transfer.Errorf(transfer.CodeInvalid, "use fail, new or overwrite",
				"--on-change: %q is not an action", f.onChange)
		case f.jobs < 1 || f.jobs > maxLocalJobs:
			return transfer.Errorf(transfer.CodeInvalid, "use a number of jobs in this range",
				"--jobs %d is out of range 1-%d", f.jobs, maxLocalJobs)
		}
		plan, err := batch.ReadPlan(args[0])
		if err != nil {
			return err
		}
		if f.local {
			return a.runBatchLocally(cmd, f, plan)
		}
		return a.withQueue(cmd, func(ctx context.Context, c *queue.Client) error {
			return a.runBatch(ctx, cmd, c, f, plan)
		})
	}
	return cmd
}

// runBatch checks a plan and enqueues it.
func (a *app) runBatch(
	ctx context.Context, cmd *cobra.Command, c *queue.Client, f *batchFlags, plan *batch.Plan,
) error {
	if _, err := a.workers(ctx, c); err != nil { // waits for one that starts
		return err
	}
	p, err := a.planner(cmd, f, queueHistory{c}, func(queue string) transfer.Inspector { return c.Inspector(queue) })
	if err != nil {
		return err
	}
	if err := p.Expand(ctx, plan); err != nil {
		return err
	}
	if id, err := c.RunningBatch(ctx, p.Fingerprint()); err != nil {
		return err
	} else if id != "" && !f.dryRun {
		return a.joinBatch(ctx, c, f, id)
	}
	r, err := p.Check(ctx, plan)
	if err != nil {
		return err
	}
	if f.dryRun {
		return a.printPlanned(r)
	}
	if err := a.refuse(r); err != nil {
		return err
	}
	id, exists, err := c.CreateBatch(ctx, r.New)
	if err != nil {
		return err
	}
	if exists {
		return a.joinBatch(ctx, c, f, id)
	}
	if err := c.EnqueueBatch(ctx, id); err != nil {
		return err
	}
	return a.started(ctx, c, f, id)
}

// joinBatch follows a batch that another run of the same plan has started.
func (a *app) joinBatch(ctx context.Context, c *queue.Client, f *batchFlags, id string) error {
	fmt.Fprintf(a.stderr, "batch %s of this plan has not ended; this is the same batch\n", id)
	return a.started(ctx, c, f, id)
}

// started prints a batch that was started or, with --wait, follows it.
func (a *app) started(ctx context.Context, c *queue.Client, f *batchFlags, id string) error {
	if f.wait {
		return a.watchBatch(ctx, c, id, f.timeout)
	}
	if a.output == outputText {
		fmt.Fprintln(a.stdout, id)
		return nil
	}
	b, err := c.Batch(ctx, id)
	if err != nil {
		return err
	}
	return a.print(&b, nil)
}

func (a *app) batchList() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List batches, the newest first", Args: cobra.NoArgs,
		Example: "  transferctl batch list\n  transferctl batch list --limit 0 -o json",
	}
	cmd.Flags().IntVar(&limit, "limit", 20, "list at most `n` batches; 0: all")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if limit < 0 {
			return transfer.Errorf(transfer.CodeInvalid, "use 0 for all, or a number of batches",
				"--limit %d is negative", limit)
		}
		return a.withQueue(cmd, func(ctx context.Context, c *queue.Client) error {
			list, err := c.Batches(ctx, limit)
			if err != nil {
				return err
			}
			return printList(a, list, func(w io.Writer) { writeBatches(w, list) })
		})
	}
	return cmd
}

func writeBatches(w io.Writer, list []queue.BatchSummary) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer t.Flush()
	fmt.Fprintln(t, "ID\tSTATE\tITEMS\tDONE\tFAILED\tAGE\tPLAN")
	for i := range list {
		b := &list[i]
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%s\t%s\n", b.ID, b.State, b.Totals.Items,
			b.Totals.Succeeded+b.Totals.Skipped, b.Totals.Failed, ageText(b.AsOf.Sub(b.CreatedAt)), cli.OneLine(b.Plan))
	}
}

func (a *app) batchShow() *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show a batch and its items", Args: cobra.ExactArgs(1),
		Example: "  transferctl batch show $batch\n  transferctl batch show $batch -o json",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withQueue(cmd, func(ctx context.Context, c *queue.Client) error {
				b, err := c.Batch(ctx, args[0])
				if err != nil {
					return err
				}
				return a.print(&b, func(w io.Writer) { writeBatch(w, &b) })
			})
		},
	}
}

func (a *app) batchWatch() *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "watch ID", Short: "Follow a batch to its end and exit with its outcome", Args: cobra.ExactArgs(1),
		Example: "  transferctl batch watch $batch\n  transferctl batch watch $batch --timeout 6h -o jsonl",
	}
	durationFlag(cmd.Flags(), &timeout, "timeout",
		"stop watching after this `duration`, such as 6h; the batch continues")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.withQueue(cmd, func(ctx context.Context, c *queue.Client) error {
			return a.watchBatch(ctx, c, args[0], timeout)
		})
	}
	return cmd
}

// batchAction makes a command that changes a batch and prints its state.
func (a *app) batchAction(
	verb, short, long string, do func(*queue.Client, context.Context, string) error,
) *cobra.Command {
	return &cobra.Command{
		Use: verb + " ID", Short: short, Long: long, Args: cobra.ExactArgs(1),
		Example: "  transferctl batch " + verb + " $batch",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withQueue(cmd, func(ctx context.Context, c *queue.Client) error {
				if err := do(c, ctx, args[0]); err != nil {
					return err
				}
				return a.printBatchState(ctx, c, args[0])
			})
		},
	}
}

func (a *app) printBatchState(ctx context.Context, c *queue.Client, id string) error {
	b, err := c.Batch(ctx, id)
	if err != nil {
		return err
	}
	return a.print(&b, func(w io.Writer) {
		state := string(b.State)
		if b.Stopping {
			state = "stopping"
		}
		fmt.Fprintln(w, b.ID, state)
	})
}

func (a *app) batchRetry() *cobra.Command {
	cmd := &cobra.Command{
		Use: "retry ID", Short: "Continue the failed and canceled items of a batch",
		Long: `Continue the items of a batch that failed or were canceled, where they stopped. What has succeeded
stays. The options that are typed here replace those that the jobs had.`,
		Example: "  transferctl batch retry $batch\n  transferctl batch retry $batch --limit-rate 20M --wait",
		Args:    cobra.ExactArgs(1),
	}
	f := &batchFlags{jobFlags: &jobFlags{spec: transfer.NewSpec(transfer.Upload, transfer.Ref{}, transfer.Ref{})}}
	cmd.Flags().BoolVar(&f.wait, "wait", false, "follow the batch to its end and exit with its outcome")
	durationFlag(cmd.Flags(), &f.timeout, "timeout", "stop waiting after this `duration`; the batch continues")
	f.changeableFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		typed := typedOptions(cmd.Flags())
		return a.withQueue(cmd, func(ctx context.Context, c *queue.Client) error {
			n, err := c.RetryBatch(ctx, args[0], typed.Change)
			if err != nil {
				return err
			}
			fmt.Fprintf(a.stderr, "batch %s: %s again\n", args[0], transfer.Count(n, "item"))
			return a.started(ctx, c, f, args[0])
		})
	}
	return cmd
}

// errBatch is the error of a batch that has not succeeded.
func errBatch(b *transfer.Batch) error {
	if b.State == transfer.BatchSucceeded {
		return nil
	}
	hint := "run the plan again; it does what is not done"
	if b.ID != "" {
		hint = "transferctl batch report " + b.ID + " says why, and transferctl batch retry " + b.ID + " continues"
	}
	ended := "failed"
	if b.State == transfer.BatchCanceled {
		ended = "was canceled"
	}
	return transfer.Errorf(transfer.CodeFailed, hint, "the batch %s: %s", ended, countsText(&b.Totals))
}

var errNothingStarted = errors.New("nothing was started")

// refuse prints what the checks have found on stderr, and fails if one is an error.
func (a *app) refuse(r *batch.Result) error {
	writePlanFindings(cli.EscapeControls(a.stderr), r.Batch.Findings)
	if !r.Failed() {
		return nil
	}
	return a.planFails(r)
}

// planFails is the error of a plan with errors.
func (a *app) planFails(r *batch.Result) error {
	n := 0
	for _, f := range r.Batch.Findings {
		if f.Severity == transfer.SeverityError {
			n++
		}
	}
	return transfer.Errorf(transfer.CodeInvalid, "mend them, and run the plan again",
		"the plan has %s: %w", transfer.Count(n, "error"), errNothingStarted)
}
