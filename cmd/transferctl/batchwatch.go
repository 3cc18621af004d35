package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/transferd/transferd/internal/cli"
	"github.com/transferd/transferd/internal/queue"
	"github.com/transferd/transferd/internal/transfer"
)

// watchBatch follows a batch to its end, prints it, and exits with its outcome.
func (a *app) watchBatch(ctx context.Context, c *queue.Client, id string, timeout time.Duration) error {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout, transfer.Errorf(transfer.CodeWaitTimeout,
			"transferctl batch watch "+id+" waits again", "batch %s has not ended after %s and goes on",
			id, transfer.FormatDuration(timeout)))
		defer cancel()
	}
	f := a.followBatch()
	for b, err := range c.WatchBatch(ctx, id) {
		if err != nil {
			return stoppedWaiting(ctx, "batch", "batch", id, err)
		}
		if b.State.Ended() {
			return a.finishBatch(b, f)
		}
		if err := f.show(b); err != nil {
			return err
		}
	}
	return stoppedWaiting(ctx, "batch", "batch", id, fmt.Errorf("batch %s: the queue sent no end of it", id))
}

// finishBatch prints a batch that has ended, and returns its error.
func (a *app) finishBatch(b *transfer.Batch, f *batchFollower) error {
	f.clear()
	if err := a.print(b, func(w io.Writer) { writeBatch(w, b) }); err != nil {
		return err
	}
	return errBatch(b)
}

// writeBatch writes the items of a batch, why they failed, and the totals.
func writeBatch(w io.Writer, b *transfer.Batch) {
	writeItems(w, b.Items)
	for i := range b.Items {
		if it := &b.Items[i]; it.Error != nil {
			fmt.Fprintf(w, "%s %s: %s\n", itemText(it), it.State, cli.OneLine(it.Error.Message))
			if it.Error.Hint != "" {
				fmt.Fprintf(w, "  remedy: %s\n", cli.OneLine(it.Error.Hint))
			}
		}
	}
	fmt.Fprintf(w, "batch %s %s: %s\n", b.ID, b.State, countsText(&b.Totals))
}

func itemText(it *transfer.BatchItem) string {
	text := fmt.Sprintf("%s %s → %s", it.Kind, it.Source, it.Target)
	if it.Name != "" {
		text += " " + it.Name
	}
	return cli.OneLine(text)
}

// countsText is the counts of a batch, without those that are 0.
func countsText(t *transfer.BatchTotals) string {
	text := transfer.Count(t.Items, "item")
	for _, count := range []struct {
		n    int
		word string
	}{
		{t.Succeeded, "succeeded"}, {t.Skipped, "done already"}, {t.Failed, "failed"}, {t.Canceled, "canceled"},
		{t.Running, "running"}, {t.Queued, "queued"},
	} {
		if count.n > 0 {
			text += fmt.Sprintf(", %d %s", count.n, count.word)
		}
	}
	return text
}

// overallText is the progress of a batch as a whole: bytes, rate, time left, counts.
func overallText(b *transfer.Batch) string {
	t, rate := &b.Totals, 0.0
	for i := range b.Items {
		rate += b.Items[i].Rate
	}
	text := fmt.Sprintf("%s of %s", sizeText(t.Bytes), sizeText(t.BytesAll))
	if t.Unknown > 0 {
		text += " and more"
	} else {
		text += fmt.Sprintf(" (%d%%)", percent(t.Bytes, t.BytesAll))
	}
	text += fmt.Sprintf(", %s/s", sizeText(int64(rate)))
	if left := t.BytesAll - t.Bytes; left > 0 && rate > 0 && t.Unknown == 0 {
		text += ", " + ageText(time.Duration(float64(left)/rate*float64(time.Second))) + " left"
	}
	if b.State == transfer.BatchPaused {
		text += ", paused"
	}
	return text + "; " + countsText(t)
}

// maxShown is how many running items are shown.
const maxShown = 10

// runningLines is a line for each running item.
func runningLines(b *transfer.Batch) (lines []string) {
	for i := range b.Items {
		it := &b.Items[i]
		if it.State != transfer.Running {
			continue
		}
		if len(lines) == maxShown {
			return append(lines, fmt.Sprintf("  and %d more", b.Totals.Running-maxShown))
		}
		lines = append(lines, fmt.Sprintf("  %s: %s of %s (%d%%), %s/s", itemText(it), sizeText(it.Bytes),
			sizeText(it.Size), percent(it.Bytes, it.Size), sizeText(int64(it.Rate))))
	}
	return lines
}

// batchFollower shows the progress of a batch: as objects of JSON on stdout with jsonl, else on
// stderr as a bar with a line for each running item on a terminal, and as plain lines elsewhere. It
// is safe for concurrent use.
type batchFollower struct {
	app *app

	mu      sync.Mutex
	printed time.Time // of the last plain lines
	lines   int       // on the terminal, to be replaced
}

func (a *app) followBatch() *batchFollower { return &batchFollower{app: a} }

// batchEvent is a line of progress with jsonl: the batch with its running items only.
type batchEvent struct {
	ID     string               `json:"id,omitempty"`
	State  transfer.BatchState  `json:"state"`
	Items  []transfer.BatchItem `json:"running"`
	Totals transfer.BatchTotals `json:"totals"`
}

func (f *batchFollower) show(b *transfer.Batch) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.app.output == outputJSONL:
		e := batchEvent{ID: b.ID, State: b.State, Items: []transfer.BatchItem{}, Totals: b.Totals}
		for i := range b.Items {
			if b.Items[i].State == transfer.Running {
				e.Items = append(e.Items, b.Items[i])
			}
		}
		return printLine(f.app.stdout, &e)
	case isTerminal(f.app.stderr):
		f.draw(b)
	case time.Since(f.printed) >= lineEvery:
		f.printed = time.Now()
		w := cli.EscapeControls(f.app.stderr)
		fmt.Fprintln(w, strings.TrimSpace("batch "+b.ID)+": "+overallText(b))
		for _, line := range runningLines(b) {
			fmt.Fprintln(w, line)
		}
	}
	return nil
}

const barWidth = 30

// draw replaces the lines on the terminal.
func (f *batchFollower) draw(b *transfer.Batch) {
	columns := 80
	if file, ok := f.app.stderr.(*os.File); ok {
		if w, _, err := term.GetSize(int(file.Fd())); err == nil && w > 0 {
			columns = w
		}
	}
	done := int(percent(b.Totals.Bytes, b.Totals.BytesAll)) * barWidth / 100
	bar := "[" + strings.Repeat("=", done) + strings.Repeat(" ", barWidth-done) + "] "
	lines := append([]string{bar + overallText(b)}, runningLines(b)...)
	f.erase()
	for _, line := range lines {
		if text := []rune(line); len(text) >= columns {
			line = string(text[:columns-1])
		}
		fmt.Fprintln(cli.EscapeControls(f.app.stderr), line)
	}
	f.lines = len(lines)
}

// erase moves the cursor above the lines on the terminal, and clears them.
func (f *batchFollower) erase() {
	if f.lines > 0 {
		fmt.Fprintf(f.app.stderr, "\x1b[%dA\x1b[J", f.lines)
	}
	f.lines = 0
}

func (f *batchFollower) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.erase()
}
