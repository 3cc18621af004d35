// Command transferd is the daemon that moves drive images; `transferd sandbox` is an endpoint to try it on.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/transferd/transferd/internal/transfer"
)

func main() {
	// The first signal asks for an orderly end; a second one, with the handler gone, ends the process at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	started := false
	cmd := daemonCommand(stderr)
	cmd.AddCommand(sandboxCommand(stderr))
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.PersistentPreRun = func(*cobra.Command, []string) { started = true }
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	var e *transfer.Error
	if !started && !errors.As(err, &e) {
		// What cobra itself finds wrong is the user's command line.
		err = transfer.Errorf(transfer.CodeInvalid, "transferd --help shows the flags", "%w", err)
	}
	fmt.Fprintf(stderr, "transferd: %v\n", err)
	if errors.As(err, &e) && e.Hint != "" {
		fmt.Fprintf(stderr, "hint: %s\n", e.Hint)
	}
	return transfer.CodeOf(err).ExitStatus()
}
