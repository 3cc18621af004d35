// Package cli has what both programs do around their commands: signals, errors with hints and
// examples, exit statuses, results on standard output, and the version.
package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/transfer"
)

// Main runs the command that the process's arguments name and exits with its status. The first
// SIGINT or SIGTERM cancels the command's context, and so does SIGHUP when the terminal closes. A
// second SIGINT or SIGTERM ends the process at once. s has further actions on signals; it may be
// nil.
func Main(root *cobra.Command, s *Signals) {
	if s == nil {
		s = new(Signals)
	}
	os.Exit(run(s.handle(), root))
}

// run returns the exit status. It writes the error and its hint to the command's stderr, after the
// output that stdout did not accept.
func run(ctx context.Context, root *cobra.Command) int {
	root.SilenceErrors, root.SilenceUsage = true, true
	out, ok := root.OutOrStdout().(*Results)
	if !ok {
		out = NewResults(root.OutOrStdout())
		root.SetOut(out)
	}
	addCommonCommands(root)
	explainUsage(root)
	started, prepare := false, root.PersistentPreRunE
	root.PersistentPreRunE = func(cmd *cobra.Command, args []string) error {
		if started = true; prepare == nil {
			return nil
		}
		return prepare(cmd, args)
	}
	err := panics.Catch(func() error { return root.ExecuteContext(ctx) })
	stderr := EscapeControls(root.ErrOrStderr())
	if outErr := out.finish(stderr); err == nil {
		err = outErr
	}
	if err == nil {
		return 0
	}
	var e *transfer.Error
	if !started && !errors.As(err, &e) {
		// An error of cobra itself is about the command line.
		e = transfer.Errorf(transfer.CodeInvalid, root.Name()+" --help lists the commands", "%w", err)
		err = e
	}
	fmt.Fprintf(stderr, "%s: %v\n", root.Name(), err)
	if errors.As(err, &e) && e.Hint != "" {
		fmt.Fprintf(stderr, "hint: %s\n", e.Hint)
	}
	return transfer.CodeOf(err).ExitStatus()
}
