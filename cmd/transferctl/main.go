// Command transferctl is what people and scripts type to move drive images.
//
// stdout carries results only. Progress, errors and hints go to stderr; the exit status is the error's code by the one
// table in internal/transfer.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/transferd/transferd/internal/transfer"
)

func main() {
	// The first signal asks us to stop; a second one, with the handler gone, ends the process at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole program but for the process around it.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	cmd := a.rootCommand()
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	var e *transfer.Error
	if !a.started && !errors.As(err, &e) {
		// What cobra itself finds wrong is the user's command line.
		err = transfer.Errorf(transfer.CodeInvalid, "transferctl --help shows how commands are written", "%w", err)
	}
	report(stderr, err)
	return transfer.CodeOf(err).ExitStatus()
}

func report(w io.Writer, err error) {
	fmt.Fprintf(w, "transferctl: %v\n", err)
	var e *transfer.Error
	if errors.As(err, &e) && e.Hint != "" {
		fmt.Fprintf(w, "hint: %s\n", e.Hint)
	}
}
