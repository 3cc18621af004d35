package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/transferd/transferd/internal/cli"
	"github.com/transferd/transferd/internal/transfer"
)

// output is the format of results.
type output string

const (
	outputText  output = "text"
	outputJSON  output = "json"  // one object (of a list: one array), indented
	outputJSONL output = "jsonl" // one object a line; for a job that is followed, its progress too
)

// formatsAnnotation is the annotation of a command that has the formats of its value, too.
const formatsAnnotation = "formats"

// check refuses a format that the command does not have.
func (o output) check(cmd *cobra.Command) error {
	switch o {
	case outputText, outputJSON, outputJSONL:
		return nil
	}
	more := strings.Fields(cmd.Annotations[formatsAnnotation])
	if slices.Contains(more, string(o)) {
		return nil
	}
	if len(more) > 0 {
		return transfer.Errorf(transfer.CodeInvalid, "use text, json, jsonl, "+strings.Join(more, " or "),
			"--output: %q is not a format", o)
	}
	return transfer.Errorf(transfer.CodeInvalid, "use text, json or jsonl", "--output: %q is not a format", o)
}

// print writes v as JSON, or calls text if the output is text.
func (a *app) print(v any, text func(w io.Writer)) error {
	switch a.output {
	case outputText:
		text(cli.EscapeControls(a.stdout))
		return nil
	case outputJSONL:
		return printLine(a.stdout, v)
	}
	e := json.NewEncoder(a.stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func printLine(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) }

// warn prints on stderr an error that does not end the command; as an object if the output is JSON.
func (a *app) warn(err error) {
	f := transfer.FailureOf(err)
	if a.output != outputText {
		_ = printLine(a.stderr, map[string]*transfer.Failure{"warning": f})
		return
	}
	stderr := cli.EscapeControls(a.stderr)
	fmt.Fprintf(stderr, "warning: %s\n", f.Message)
	if f.Hint != "" {
		fmt.Fprintf(stderr, "hint: %s\n", f.Hint)
	}
}

// printList is print for a list. With jsonl it writes one element a line.
func printList[T any](a *app, list []T, text func(w io.Writer)) error {
	if a.output != outputJSONL {
		if list == nil {
			list = []T{}
		}
		return a.print(list, text)
	}
	for _, v := range list {
		if err := printLine(a.stdout, v); err != nil {
			return err
		}
	}
	return nil
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// finish prints the result and the summary of a job that has ended, and returns the job's error.
func (a *app) finish(j *transfer.Job) error {
	if a.output != outputText {
		if err := a.print(j, nil); err != nil {
			return err
		}
	}
	if j.Error != nil {
		if j.Bytes.Done > 0 {
			fmt.Fprintf(a.stderr, "%s %s: %s, %s\n", j.Kind, j.State, doneText(j), work(j))
		}
		return &transfer.Error{
			Op: fmt.Sprintf("%s %s", j.Kind, j.ID), Code: j.Error.Code, Hint: j.Error.Hint,
			Offset: j.Error.Offset, Err: j.Error.Err(),
		}
	}
	if r := result(j); a.output == outputText && r != transfer.Std {
		fmt.Fprintln(a.stdout, r)
	}
	fmt.Fprintln(a.stderr, summary(j))
	for _, w := range j.Warnings {
		fmt.Fprintln(cli.EscapeControls(a.stderr), "warning:", w)
	}
	return nil
}

// result is what a job prints on stdout: the UUID of the drive or the server, the path of the file, or
// "equal".
func result(j *transfer.Job) string {
	switch j.Kind {
	case transfer.Download:
		return j.Target
	case transfer.Verify:
		return "equal"
	}
	return madeBy(j)
}

// summary describes a job that succeeded, in two lines, or three if the target is a local file:
// what it moved and how fast, how it was verified, and what was read back.
func summary(j *transfer.Job) string {
	if j.Kind == transfer.Migrate {
		return migrationSummary(j)
	}
	s := fmt.Sprintf("%s: %s image %s", j.Kind, sizeText(j.Size), work(j))
	if n := j.Retries.Sum(); n > 0 {
		s += ", " + transfer.Count(n, "retry")
	}
	if !j.Tail.IsZero() {
		s += "; " + tailText(j)
	}
	s += fmt.Sprintf("\n%s (%s: %d zero, %d written, %d read back)", verification(j),
		transfer.Count(j.Chunks.Total, "chunk"), j.Chunks.Zero, j.Chunks.Sent, j.Chunks.Verified)
	if via := readVia[j.ReadVia]; via != "" {
		s += "\nread back " + via
	}
	return s
}

// work is how long a job took, and the bytes that it moved in that time.
func work(j *transfer.Job) string {
	s := fmt.Sprintf("in %.1f s", j.Seconds)
	if j.Bytes.Read > 0 {
		s += fmt.Sprintf(", %s read", sizeText(j.Bytes.Read))
		if j.State == transfer.Succeeded && j.Bytes.Read < j.Size {
			s += " (the rest is holes)"
		}
		s += fmt.Sprintf(" at %s/s", sizeText(int64(j.Rate)))
	}
	if j.Bytes.WireOut+j.Bytes.WireIn > 0 {
		s += fmt.Sprintf(", network: %s sent, %s received", sizeText(j.Bytes.WireOut), sizeText(j.Bytes.WireIn))
	}
	return s
}

// verification is how a job was verified.
func verification(j *transfer.Job) string {
	switch {
	case !j.Verified:
		return "not verified"
	case j.Chunks.Sent == 0 && (j.Kind == transfer.Verify || j.Kind == transfer.Clone):
		return "verified: all of it was read and compared"
	case j.Verify == transfer.VerifyFull:
		return "verified: all of it was read once more"
	}
	return "verified: what was written was read back, zeros were sampled"
}

// readVia describes how a file or device was read back.
var readVia = map[transfer.ReadVia]string{
	transfer.ReadCached:  "from the host's cache; --verify full reads the disk",
	transfer.ReadDirect:  "from the disk (O_DIRECT)",
	transfer.ReadDropped: "from the disk (after sync and POSIX_FADV_DONTNEED)",
}

// tailText says what happens to the content of a target behind the image.
func tailText(j *transfer.Job) string {
	t := &j.Tail
	s := "the bytes of the target behind the image"
	if t.Bytes > 0 {
		s = fmt.Sprintf("%s (%s) behind the image", transfer.Count(t.Bytes, "byte"), sizeText(t.Bytes))
	}
	switch {
	case t.Kept:
		return s + " stay as they were"
	case j.State == transfer.Succeeded:
		s += fmt.Sprintf(" are zeros now, %s of them were not", sizeText(t.Cleared))
	default:
		s += " become zeros"
	}
	return s
}

// foundText lists the partition tables and file systems that the target had.
func foundText(j *transfer.Job) string {
	if len(j.Tail.Found) == 0 {
		return ""
	}
	return "; the target held: " + strings.Join(j.Tail.Found, ", ")
}

// timeIfAny is nil for the zero time.
func timeIfAny(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// ageText writes a duration with its two largest units: 45s, 1h5m, 7d3h.
func ageText(d time.Duration) string {
	switch {
	case d >= 24*time.Hour:
		d = d.Truncate(time.Hour)
	case d >= time.Hour:
		d = d.Truncate(time.Minute)
	default:
		d = d.Round(time.Second)
	}
	return transfer.FormatDuration(max(d, 0))
}

// sizeText writes a number of bytes with three digits and a binary unit.
func sizeText(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	v, i := float64(n)/1024, 0
	for v >= 999.5 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	return fmt.Sprintf("%.3g %ciB", v, units[i])
}
