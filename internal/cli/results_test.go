package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// open opens a file to write to, as a shell does.
func open(t *testing.T, path string, flags int) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, flags, 0)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestLostResultsAreRepeated: a program whose standard output refuses writes fails, and repeats the
// output on standard error.
func TestLostResultsAreRepeated(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	gone := open(t, "/dev/null", os.O_WRONLY)
	_ = gone.Close()
	for name, tc := range map[string]struct {
		out    *os.File
		err    error
		status int
		words  string // of stderr; empty: stderr is empty
	}{
		"taken": {out: open(t, os.DevNull, os.O_WRONLY)},
		"disk full": {
			out:    open(t, "/dev/full", os.O_WRONLY),
			status: 1,
			words:  "the-uuid\nprogram: write standard output: no space left",
		},
		"no reader":        {out: w, status: 1, words: "the-uuid"},
		"closed meanwhile": {out: gone, status: 1, words: "the-uuid"},
		"closed at start": {
			out:   open(t, os.DevNull, os.O_RDWR),
			words: "the-uuid\n",
		},
		"command fails, and disk full": {
			out:    open(t, "/dev/full", os.O_WRONLY),
			err:    errors.New("broken"),
			status: 1,
			words:  "program: broken",
		},
	} {
		root := &cobra.Command{Use: "program", RunE: func(cmd *cobra.Command, _ []string) error {
			fmt.Fprintln(cmd.OutOrStdout(), "the-uuid") // ignores the error, as commands do
			return tc.err
		}}
		var stderr strings.Builder
		root.SetOut(NewResults(tc.out))
		root.SetErr(&stderr)
		root.SetArgs(nil)
		if status := run(context.Background(), root); status != tc.status {
			t.Errorf("%s: status %d, want %d", name, status, tc.status)
		}
		if got := stderr.String(); !strings.Contains(got, tc.words) || (tc.words == "") != (got == "") {
			t.Errorf("%s: stderr is %q, want %q in it", name, got, tc.words)
		}
	}
}

// TestResultIsRepeatedAfterProgress: a command that prints progress to a full disk continues, and
// the end of its output, with the result, is repeated.
func TestResultIsRepeatedAfterProgress(t *testing.T) {
	root := &cobra.Command{Use: "program", RunE: func(cmd *cobra.Command, _ []string) error {
		for range 1000 {
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), strings.Repeat("progress ", 10)); err != nil {
				return err
			}
		}
		_, err := fmt.Fprintln(cmd.OutOrStdout(), "the-uuid")
		return err
	}}
	var stderr strings.Builder
	root.SetOut(open(t, "/dev/full", os.O_WRONLY))
	root.SetErr(&stderr)
	root.SetArgs(nil)
	if status := run(context.Background(), root); status != 1 {
		t.Errorf("status %d, want 1", status)
	}
	if got := stderr.String(); !strings.Contains(got, "\nthe-uuid\n") || len(got) > maxRepeated+1024 {
		t.Errorf("stderr has %d bytes and ends with %q, want at most %d and the UUID",
			len(got), got[max(len(got)-100, 0):], maxRepeated+1024)
	}
}

// TestLostCompletionFails: the script for a shell is a result, too.
func TestLostCompletionFails(t *testing.T) {
	root := &cobra.Command{Use: "program"}
	root.AddCommand(&cobra.Command{Use: "sub", RunE: func(*cobra.Command, []string) error { return nil }})
	root.SetOut(open(t, "/dev/full", os.O_WRONLY))
	root.SetErr(new(strings.Builder))
	root.SetArgs([]string{"completion", "bash"})
	if status := run(context.Background(), root); status != 1 {
		t.Errorf("status %d, want 1", status)
	}
}

// TestNoStreamToClosedOutput: Raw is nil if standard output was closed when the program began.
func TestNoStreamToClosedOutput(t *testing.T) {
	if w := NewResults(open(t, os.DevNull, os.O_RDWR)).Raw(); w != nil {
		t.Errorf("closed standard output: got %v, want nil", w)
	}
	if w := NewResults(open(t, os.DevNull, os.O_WRONLY)).Raw(); w == nil {
		t.Error("/dev/null, opened by a shell: got nil, want a writer")
	}
}

// TestLostHelpFails: a write error of cobra's own output makes the program fail, too.
func TestLostHelpFails(t *testing.T) {
	root := &cobra.Command{Use: "program", RunE: func(*cobra.Command, []string) error { return nil }}
	root.SetOut(open(t, "/dev/full", os.O_WRONLY))
	root.SetErr(new(strings.Builder))
	root.SetArgs([]string{"--help"})
	if status := run(context.Background(), root); status != 1 {
		t.Errorf("status %d, want 1", status)
	}
}

// TestPanicIsAnError: the program reports a panic as an error, without its stack.
func TestPanicIsAnError(t *testing.T) {
	root := &cobra.Command{Use: "program", RunE: func(*cobra.Command, []string) error { panic("a mistake") }}
	var stderr strings.Builder
	root.SetErr(&stderr)
	root.SetArgs(nil)
	if status := run(context.Background(), root); status != 1 || strings.Contains(stderr.String(), "goroutine") ||
		!strings.Contains(stderr.String(), "program: internal error at ") {
		t.Errorf("status %d and %q, want 1 and an internal error without a stack", status, stderr.String())
	}
}
