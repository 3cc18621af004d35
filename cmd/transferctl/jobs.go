package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/transferd/transferd/internal/cli"
	"github.com/transferd/transferd/internal/queue"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/verify"
)

func (a *app) jobsCommand() *cobra.Command {
	return group("jobs", "List, follow, cancel and retry jobs",
		"  transferctl jobs list\n  transferctl jobs watch $job",
		a.jobsList(), a.jobsShow(), a.jobsWatch(), a.jobsCancel(), a.jobsRetry(), a.jobsPrune())
}

// withQueue runs do with a connection to the queue.
func (a *app) withQueue(cmd *cobra.Command, do func(ctx context.Context, c *queue.Client) error) error {
	c, err := a.dial(cmd.Context())
	if err != nil {
		return err
	}
	defer c.Close()
	return do(cmd.Context(), c)
}

func statesFlag(cmd *cobra.Command, states *[]string) {
	cmd.Flags().StringSliceVar(states, "state", nil,
		"only jobs in these `states`: queued,running,succeeded,failed,canceled")
}

func (a *app) jobsList() *cobra.Command {
	var states []string
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List jobs, the newest first",
		Long: "List jobs, the newest first. TARGET of an upload or a clone is the new drive, once the job has made it.",
		Example: `  transferctl jobs list
  transferctl jobs list --state queued,running
  transferctl jobs list --limit 0 -o json`,
		Args: cobra.NoArgs,
	}
	statesFlag(cmd, &states)
	cmd.Flags().IntVar(&limit, "limit", 100, "list at most `n` jobs; 0: all")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		wanted, err := transfer.ParseStates(states)
		if err != nil {
			return err
		}
		if limit < 0 {
			return transfer.Errorf(transfer.CodeInvalid, "use 0 for all, or a number of jobs",
				"--limit %d is negative", limit)
		}
		return a.withQueue(cmd, func(ctx context.Context, c *queue.Client) error {
			jobs, cut, err := c.Newest(ctx, queue.Filter{States: wanted, Limit: limit})
			if err != nil {
				return err
			}
			if err := printList(a, jobs, func(w io.Writer) { writeJobs(w, jobs) }); err != nil {
				return err
			}
			a.printNotStarted(jobs)
			if cut {
				fmt.Fprintf(a.stderr, "listed: the newest %s; --limit 0 lists all\n", transfer.Count(limit, "job"))
			}
			return nil
		})
	}
	return cmd
}

func writeJobs(w io.Writer, jobs []transfer.Job) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer t.Flush()
	fmt.Fprintln(t, "ID\tKIND\tSTATE\tDONE\tAGE\tSOURCE\tTARGET")
	for i := range jobs {
		j := &jobs[i]
		done := "-"
		if n, total := doneOf(j); total > 0 {
			done = fmt.Sprintf("%d%%", percent(n, total))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", j.ID, j.Kind, stateText(j), done,
			ageText(j.AsOf.Sub(j.CreatedAt)), cli.OneLine(j.Source), cli.OneLine(targetOf(j)))
	}
}

// printNotStarted says why servers are not started again that jobs have shut down.
func (a *app) printNotStarted(jobs []transfer.Job) {
	for i := range jobs {
		if text := waitingText(&jobs[i]); text != "" && jobs[i].Step == transfer.StepNotStarted {
			fmt.Fprintln(cli.EscapeControls(a.stderr), "job", jobs[i].ID, cli.OneLine(text))
		}
	}
}

// targetOf is the target of a job: the address of the new drive instead of ENDPOINT:, once the job
// has made it.
func targetOf(j *transfer.Job) string {
	if j.Target == j.Endpoint+":" {
		return j.Target + madeBy(j)
	}
	return j.Target
}

// madeBy is the UUID of the drive or the server that a job has made; empty: it is not known.
func madeBy(j *transfer.Job) string {
	if j.Migration != nil {
		return j.Migration.Server
	}
	return j.Drive
}

// stateText is the state of a job for people: a canceled job that has not ended is stopping, and a
// running job may do something else than moving bytes.
func stateText(j *transfer.Job) string {
	state := string(j.State)
	if j.Stopping {
		state = "stopping"
	}
	if j.Step == "" || j.State != transfer.Running {
		return state
	}
	return state + ", " + strings.ReplaceAll(string(j.Step), "_", " ")
}

func (a *app) jobsShow() *cobra.Command {
	var manifest bool
	cmd := &cobra.Command{
		Use: "show ID", Short: "Show a job",
		Example: `  transferctl jobs show $job
  transferctl jobs show $job -o json
  transferctl jobs show $job --manifest >disk.img.manifest.json`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().BoolVar(&manifest, "manifest", false, "print the manifest of the image instead, as JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.withQueue(cmd, func(ctx context.Context, c *queue.Client) error {
			if manifest {
				return a.printManifest(ctx, c, args[0])
			}
			job, err := c.Job(ctx, args[0])
			if err == nil {
				err = a.setWaiting(ctx, c, &job)
			}
			if err != nil {
				return err
			}
			return a.print(job, func(w io.Writer) { writeJob(w, &job) })
		})
	}
	return cmd
}

func (a *app) printManifest(ctx context.Context, c *queue.Client, id string) error {
	job, at, err := c.Ledger(ctx, id)
	if err != nil {
		return err
	}
	if err := at.Validate(); err != nil {
		return err
	}
	if job.State != transfer.Succeeded || job.Digest.ChunksRoot == "" || at.Plan.ChunkSize == 0 {
		return transfer.Errorf(transfer.CodeInvalid,
			"only jobs that succeeded have one, except clones with --verify none",
			"job %s (%s, %s) has no manifest", id, job.Kind, job.State)
	}
	p := &at.Plan
	m := verify.NewManifest(p.Size, p.ChunkSize, verify.NonZero(at.Entries, p.Size, p.ChunkSize), job.Digest.Image)
	if m.ChunksRoot != job.Digest.ChunksRoot {
		return transfer.Errorf(transfer.CodeMismatch, "read the drive again with transferctl verify",
			"the ledger of job %s has chunks root %s, and the job's result has %s",
			id, m.ChunksRoot, job.Digest.ChunksRoot)
	}
	m.InUse = job.InUse
	return printLine(a.stdout, m)
}

func writeJob(w io.Writer, j *transfer.Job) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer t.Flush()
	row := func(name string, value any) { fmt.Fprintf(t, "%s\t%v\n", name, value) }
	row("id", j.ID)
	row("kind", j.Kind)
	row("state", stateText(j))
	if text := waitingText(j); text != "" {
		row("waiting", cli.OneLine(text))
	}
	row("source", cli.OneLine(j.Source))
	row("target", cli.OneLine(j.Target))
	if j.Kind == transfer.Migrate {
		migrationRows(j, row)
	} else {
		row("drive", j.Drive)
	}
	row("size", sizeText(j.Size))
	row("chunks", fmt.Sprintf("%d of %d done, %d zero, %d written, %d read back",
		j.Chunks.Done, j.Chunks.Total, j.Chunks.Zero, j.Chunks.Sent, j.Chunks.Verified))
	if j.State == transfer.Running {
		row("progress", progressText(j))
	}
	row("bytes", fmt.Sprintf("%s read, %s sent, %s received",
		sizeText(j.Bytes.Read), sizeText(j.Bytes.WireOut), sizeText(j.Bytes.WireIn)))
	row("retries", fmt.Sprintf("%d busy, %s, %d server, %d network, %s",
		j.Retries.Conflict, transfer.Count(j.Retries.Timeout, "timeout"), j.Retries.Server, j.Retries.Network,
		transfer.Count(j.Retries.Mismatch, "mismatch")))
	if !j.Tail.IsZero() {
		row("tail", tailText(j)+foundText(j))
	}
	verificationRows(j, row)
	row("attempts", j.Attempts)
	row("worker", j.Worker)
	row("created", j.CreatedAt.Format(time.RFC3339))
	row("seconds", fmt.Sprintf("%.1f", j.Seconds))
	if j.Error != nil {
		row("error", fmt.Sprintf("%s: %s", j.Error.Code, j.Error.Message))
		row("hint", j.Error.Hint)
	}
}

// verificationRows adds what is known of the image.
func verificationRows(j *transfer.Job, row func(name string, value any)) {
	row("verified", j.Verified)
	if via := readVia[j.ReadVia]; via != "" {
		row("read back", via)
	}
	if j.Digest.Image != "" {
		row("sha256", j.Digest.Image)
	}
	if j.Digest.ChunksRoot != "" {
		row("chunks root", j.Digest.ChunksRoot)
	}
	for _, w := range j.Warnings {
		row("warning", w)
	}
}

func (a *app) jobsWatch() *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "watch ID", Short: "Follow a job to its end and exit with its outcome",
		Example: `  transferctl jobs watch $job
  transferctl jobs watch $job --timeout 6h
  transferctl jobs watch $job -o jsonl`,
		Args: cobra.ExactArgs(1),
	}
	durationFlag(cmd.Flags(), &timeout, "timeout", "stop watching after this `duration`, such as 6h; the job continues")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.withQueue(cmd, func(ctx context.Context, c *queue.Client) error {
			return a.watch(ctx, c, args[0], timeout)
		})
	}
	return cmd
}

// jobAction changes a job and returns it.
type jobAction func(c *queue.Client, ctx context.Context, id string) (transfer.Job, error)

// forEachJob runs do for each job and prints the jobs that do returns. After an error that concerns
// one job only, it continues with the next one.
func (a *app) forEachJob(cmd *cobra.Command, ids []string, do jobAction) error {
	return a.withQueue(cmd, func(ctx context.Context, c *queue.Client) error {
		var jobs []transfer.Job
		var errs error
		for _, id := range ids {
			job, err := do(c, ctx, id)
			if err == nil {
				jobs = append(jobs, job)
				continue
			}
			errs = errors.Join(errs, err)
			if code := transfer.CodeOf(err); code != transfer.CodeInvalid && code != transfer.CodeNotFound {
				break
			}
		}
		if len(jobs) == 0 {
			return errs
		}
		return errors.Join(errs, printList(a, jobs, func(w io.Writer) {
			for i := range jobs {
				fmt.Fprintln(w, jobs[i].ID, stateText(&jobs[i]))
			}
		}))
	})
}

// printCount prints the number of jobs that a command changed; what is its name in JSON.
func (a *app) printCount(what string, n int) error {
	return a.print(map[string]int{what: n}, func(w io.Writer) { fmt.Fprintln(w, n) })
}

func (a *app) jobsRetry() *cobra.Command {
	return &cobra.Command{
		Use: "retry ID...", Short: "Continue failed or canceled jobs where they stopped",
		Example: "  transferctl jobs retry $job", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.forEachJob(cmd, args, (*queue.Client).Retry) },
	}
}
