package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/transferd/transferd/internal/cli"
	"github.com/transferd/transferd/internal/transfer"
)

// output is the form of results.
type output string

const (
	outputText  output = "text"
	outputJSON  output = "json"  // one object (of a list: one array), indented
	outputJSONL output = "jsonl" // one object a line; a job that is followed prints its progress too
)

func (o output) check() error {
	switch o {
	case outputText, outputJSON, outputJSONL:
		return nil
	}
	return transfer.Errorf(transfer.CodeInvalid, "use text, json or jsonl", "--output: %q is not a form", o)
}

// print writes v in the form asked for; text is its text form.
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

// warn says on stderr what a command has left out or could not do, and goes on without: with JSON,
// as an object.
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

// printList writes a list: of lines with jsonl.
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

// finish prints the outcome of a job that has ended and returns it as an error.
func (a *app) finish(j *transfer.Job) error {
	if a.output != outputText {
		if err := a.print(j, nil); err != nil {
			return err
		}
	}
	if j.Error != nil {
		if j.Bytes.Done > 0 {
			fmt.Fprintf(a.stderr, "%s %s: %s, %s\n", j.Kind, j.State, moved(j), took(j))
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

// result is what a script wants of a job: the drive it made or wrote, the file it made, or that two things are equal.
func result(j *transfer.Job) string {
	switch j.Kind {
	case transfer.Download:
		return j.Target
	case transfer.Verify:
		return "equal"
	}
	return j.Drive
}

// summary says what a job that succeeded did.
func summary(j *transfer.Job) string {
	s := fmt.Sprintf("%s: %s, %d chunks (%d zero, %d written, %d read back), %s", j.Kind, human(j.Size),
		j.Chunks.Total, j.Chunks.Zero, j.Chunks.Sent, j.Chunks.Verified, took(j))
	if !j.Tail.IsZero() {
		s += ", " + tail(j)
	}
	if n := j.Retries.Sum(); n > 0 {
		s += fmt.Sprintf(", %d retries", n)
	}
	s += ", " + proof(j)
	if via := readVia[j.ReadVia]; via != "" {
		s += "\nread back " + via
	}
	return s
}

// took says how long a job took, and what it moved in that time.
func took(j *transfer.Job) string {
	s := fmt.Sprintf("in %.1f s", j.Seconds)
	if j.Bytes.Read > 0 {
		s += fmt.Sprintf(", %s of data at %s/s", human(j.Bytes.Read), human(int64(j.Rate)))
	}
	if j.Bytes.WireOut+j.Bytes.WireIn > 0 {
		s += fmt.Sprintf(", %s sent and %s received", human(j.Bytes.WireOut), human(j.Bytes.WireIn))
	}
	return s
}

// proof says how a job was verified.
func proof(j *transfer.Job) string {
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

// readVia is how a file or device was read back, for people.
var readVia = map[transfer.ReadVia]string{
	transfer.ReadCached:  "from the host's cache; --verify full reads the disk",
	transfer.ReadDirect:  "from the disk (O_DIRECT)",
	transfer.ReadDropped: "from the disk (after sync and POSIX_FADV_DONTNEED)",
}

// tail says what becomes of what a target holds behind the image.
func tail(j *transfer.Job) string {
	t := &j.Tail
	s := "what it does not fill of the target"
	if t.Bytes > 0 {
		s = fmt.Sprintf("%d bytes (%s) behind the image", t.Bytes, human(t.Bytes))
	}
	switch {
	case t.Kept:
		return s + " stay as they were"
	case j.State == transfer.Succeeded:
		s += fmt.Sprintf(" are zeros now, %s of them were not", human(t.Cleared))
	default:
		s += " become zeros"
	}
	return s
}

// held says what was recognised in such a target.
func held(j *transfer.Job) string {
	if len(j.Tail.Found) == 0 {
		return ""
	}
	return "; the target held: " + strings.Join(j.Tail.Found, ", ")
}

// human writes a number of bytes for people: three digits and a binary unit.
func human(n int64) string {
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
