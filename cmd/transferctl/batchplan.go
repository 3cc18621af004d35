package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/transferd/transferd/internal/batch"
	"github.com/transferd/transferd/internal/cli"
	"github.com/transferd/transferd/internal/endpoints"
	"github.com/transferd/transferd/internal/queue"
	"github.com/transferd/transferd/internal/transfer"
)

// planner makes a planner with the flags of batch run.
func (a *app) planner(
	cmd *cobra.Command, f *batchFlags, history batch.History, inspector func(queue string) transfer.Inspector,
) (*batch.Planner, error) {
	typed := typedOptions(cmd.Flags())
	check := f.spec
	check.Source, check.Target = transfer.Ref{Path: "/"}, transfer.Ref{Endpoint: "any"}
	if err := typed.Change(&check); err != nil {
		return nil, err
	}
	if err := check.Validate(); err != nil {
		return nil, err
	}
	return &batch.Planner{
		Endpoints: batchEndpoints{a, a.opener()}, History: history, Inspector: inspector,
		IsEndpoint: func(name string) bool { _, ok := a.cfg.Endpoints[name]; return ok },
		DriveName:  imageName, NewJob: queue.NewID, OnChange: batch.OnChange(f.onChange), Typed: typed,
	}, nil
}

// typedOptions are the flags that a user has typed, as words of a plan.
func typedOptions(flags *pflag.FlagSet) batch.Options {
	typed := make(batch.Options)
	flags.Visit(func(f *pflag.Flag) {
		values := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		typed.Add(f.Name, values)
	})
	return typed
}

// batchEndpoints makes the calls of a plan, and retries them as commands do.
type batchEndpoints struct {
	app    *app
	opener *endpoints.Opener
}

var _ batch.Endpoints = batchEndpoints{}

// Drives implements batch.Endpoints.
func (e batchEndpoints) Drives(ctx context.Context, endpoint string) (list []batch.Drive, err error) {
	c, err := e.opener.Client(ctx, endpoint)
	if err != nil {
		return nil, err
	}
	drives, err := retried(ctx, e.app, c.Drives)
	if err != nil {
		return nil, fmt.Errorf("list the drives of %s: %w", endpoint, err)
	}
	for i := range drives {
		d := &drives[i]
		ready, _ := d.Ready() // an inactive drive never is
		list = append(list, batch.Drive{UUID: d.UUID, Name: d.Name, Size: d.Size, Tags: d.Tags, Ready: ready})
	}
	return list, nil
}

// Holds implements batch.Endpoints.
func (e batchEndpoints) Holds(
	ctx context.Context, drive transfer.Ref, known *transfer.KnownImage, chunks []transfer.Entry,
) (bool, error) {
	return retried(ctx, e.app, func(ctx context.Context) (bool, error) {
		return e.opener.Holds(ctx, drive, known, chunks)
	})
}

// CheckAllowance implements batch.Endpoints.
func (e batchEndpoints) CheckAllowance(ctx context.Context, endpoint string, size int64) error {
	return e.opener.CheckAllowance(ctx, endpoint, size)
}

// queueHistory is what a queue knows of earlier jobs.
type queueHistory struct{ *queue.Client }

var _ batch.History = queueHistory{}

// Slots implements batch.History.
func (h queueHistory) Slots(ctx context.Context, queue string) (n int, err error) {
	workers, err := h.Workers(ctx)
	for i := range workers {
		if slices.Contains(workers[i].Queues, queue) {
			n += workers[i].Jobs
		}
	}
	return n, err
}

// printPlanned prints what a dry run has found. It fails if the plan has errors.
func (a *app) printPlanned(r *batch.Result) error {
	err := a.print(&r.Batch, func(w io.Writer) {
		writeItems(w, r.Batch.Items)
		writePlanFindings(w, r.Batch.Findings)
		fmt.Fprintln(w, plannedText(&r.Batch))
	})
	if err == nil && r.Failed() {
		err = a.planFails(r)
	}
	return err
}

// plannedText sums up a plan: what is to be done, how much it is, and how long it takes.
func plannedText(b *transfer.Batch) string {
	t := &b.Totals
	text := fmt.Sprintf("%s: %d to do, %d done already", transfer.Count(t.Items, "item"), t.Queued, t.Skipped)
	if t.Failed > 0 {
		text += fmt.Sprintf(", %d with errors", t.Failed)
	}
	bytes, unknown := int64(0), 0
	for i := range b.Items {
		switch it := &b.Items[i]; {
		case it.State == transfer.Queued && it.Size == 0:
			unknown++
		case it.State == transfer.Queued:
			bytes += it.Size
		}
	}
	text += "; " + sizeText(bytes) + " to copy"
	if unknown > 0 {
		text += fmt.Sprintf(" and %s whose size shows when they are unpacked", transfer.Count(unknown, "image"))
	}
	if b.Estimate > 0 {
		takes := max(time.Second, time.Duration(b.Estimate*float64(time.Second)))
		return text + ", about " + ageText(takes) + " at the rate of earlier jobs"
	}
	return text + "; no earlier job shows how long that takes"
}

func writePlanFindings(w io.Writer, findings []transfer.Finding) {
	for i := range findings {
		f := &findings[i]
		where := ""
		if f.Item != "" {
			where = cli.OneLine(f.Item) + ": "
		}
		fmt.Fprintf(w, "%s: %s%s\n", f.Severity, where, cli.OneLine(f.Cause))
		if f.Remedy != "" {
			fmt.Fprintf(w, "  remedy: %s\n", cli.OneLine(f.Remedy))
		}
	}
}

// writeItems writes a table of items.
func writeItems(w io.Writer, items []transfer.BatchItem) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer t.Flush()
	fmt.Fprintln(t, "KIND\tSTATE\tSIZE\tFORMAT\tSOURCE\tTARGET\tNAME\tDRIVE")
	for i := range items {
		it := &items[i]
		size := "-"
		if it.Size > 0 {
			size = sizeText(it.Size)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", it.Kind, it.State, size, it.Format,
			cli.OneLine(it.Source), cli.OneLine(it.Target), cli.OneLine(it.Name), it.Drive)
	}
}
