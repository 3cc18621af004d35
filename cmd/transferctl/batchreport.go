package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/transferd/transferd/internal/batch"
	"github.com/transferd/transferd/internal/cli"
	"github.com/transferd/transferd/internal/queue"
	"github.com/transferd/transferd/internal/transfer"
)

// Formats that only batch report has.
const (
	outputCSV      output = "csv"
	outputMarkdown output = "markdown"
)

func (a *app) batchReport() *cobra.Command {
	cmd := &cobra.Command{
		Use: "report ID", Short: "Print the result of each item of a batch",
		Long: `Print, for each item of a batch, what it was, its result, drive, bytes and seconds, why it failed in
words, and what to do. In CSV, cells that a spreadsheet would run as formulas have an apostrophe
before them.`,
		Example: `  transferctl batch report $batch
  transferctl batch report $batch -o csv >report.csv
  transferctl batch report $batch -o markdown`,
		Args: cobra.ExactArgs(1), Annotations: map[string]string{formatsAnnotation: "csv markdown"},
	}
	cmd.Flags().StringVarP((*string)(&a.output), "output", "o", string(outputText),
		"`format` of the report: text, csv, json or markdown")
	completeValues(cmd, "output", string(outputText), string(outputCSV), string(outputJSON), string(outputMarkdown))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.withQueue(cmd, func(ctx context.Context, c *queue.Client) error {
			b, err := c.Batch(ctx, args[0])
			if err != nil {
				return err
			}
			return a.printReport(&b)
		})
	}
	return cmd
}

func (a *app) printReport(b *transfer.Batch) error {
	switch a.output {
	case outputCSV:
		return batch.WriteCSV(a.stdout, b)
	case outputMarkdown:
		return batch.WriteMarkdown(cli.EscapeControls(a.stdout), b)
	}
	return a.print(b, func(w io.Writer) { writeBatch(w, b) })
}
