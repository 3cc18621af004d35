package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/transfer"
)

const (
	// powerTimeout is how long --wait waits for a server if --timeout does not say.
	powerTimeout = 5 * time.Minute
	// powerPoll is the time between two looks at the server.
	powerPoll = time.Second
)

// powerAction is what a command does with a server.
type powerAction struct {
	done func(*api.Server) bool // what --wait waits for
	run  func(ctx context.Context, c *api.Client, uuid string) error
	late string // the hint after a wait in vain; %s is the address
}

func isRunning(s *api.Server) bool { return s.Running() }
func isStopped(s *api.Server) bool { return !s.Running() }

func (a *app) serversStart() *cobra.Command {
	return a.powerCommand(&cobra.Command{
		Use:   "start ENDPOINT:UUID|NAME",
		Short: "Start a server",
		Long: `Start a server, and print its UUID and status. A server that runs goes on. A drive that another
running server holds must be free or shared.`,
		Example: "  transferctl servers start zrh:$server\n  transferctl servers start zrh:$server --wait",
	}, powerAction{
		done: isRunning, late: "transferctl servers info %s shows its status",
		run: func(ctx context.Context, c *api.Client, uuid string) error {
			_, err := c.StartServer(ctx, uuid)
			return err
		},
	})
}

func (a *app) serversStop() *cobra.Command {
	return a.powerCommand(&cobra.Command{
		Use:   "stop ENDPOINT:UUID|NAME",
		Short: "Stop a server at once, like a power cut",
		Long: `Stop a server at once, and print its UUID and status. That is like a power cut: what its system has
not written to its drives is lost. servers shutdown asks the system to stop.`,
		Example: "  transferctl servers stop zrh:$server\n  transferctl servers stop zrh:$server --wait --timeout 30s",
	}, powerAction{
		done: isStopped, late: "transferctl servers info %s shows its status",
		run: func(ctx context.Context, c *api.Client, uuid string) error { return c.StopServer(ctx, uuid) },
	})
}

func (a *app) serversShutdown() *cobra.Command {
	return a.powerCommand(&cobra.Command{
		Use:   "shutdown ENDPOINT:UUID|NAME",
		Short: "Ask a server's system to shut down",
		Long: `Ask a server's system to shut down (ACPI), and print the server's UUID and status. Without --wait this
returns while the server still runs. With --wait it returns when the server has stopped; if the
system has not obeyed after --timeout, the exit status is 8, and the server runs on.`,
		Example: "  transferctl servers shutdown zrh:$server\n  transferctl servers shutdown zrh:$server --wait",
	}, powerAction{
		done: isStopped, late: "the system may not obey; transferctl servers stop %s cuts its power",
		run: func(ctx context.Context, c *api.Client, uuid string) error { return c.ShutDownServer(ctx, uuid) },
	})
}

// powerCommand completes a command that changes whether a server runs. Such calls are idempotent.
func (a *app) powerCommand(cmd *cobra.Command, action powerAction) *cobra.Command {
	var wait bool
	timeout := powerTimeout
	cmd.Args, cmd.ValidArgsFunction = cobra.ExactArgs(1), a.operands(a.serverOperand)
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until the server has its new status")
	durationFlag(cmd.Flags(), &timeout, "timeout", "stop waiting after this `duration`")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		if cmd.Flags().Changed("timeout") && !wait {
			return transfer.Errorf(transfer.CodeInvalid, "add --wait",
				"--timeout is the time to wait, and --wait is missing")
		}
		c, uuid, err := a.existing(ctx, &serverObjects, args[0])
		if err != nil {
			return err
		}
		err = a.retryBriefly(ctx, anyFailure, func() error { return action.run(ctx, c, uuid) })
		if err != nil {
			return err
		}
		s, err := a.serverInfo(ctx, c, uuid)
		if err == nil && wait {
			s, err = a.awaitServer(ctx, c, s, timeout, action.done)
		}
		if transfer.CodeOf(err) == transfer.CodeWaitTimeout {
			endpoint, _, _ := strings.Cut(args[0], ":")
			return &transfer.Error{
				Code: transfer.CodeWaitTimeout, Hint: fmt.Sprintf(action.late, endpoint+":"+uuid), Err: err,
			}
		}
		if err != nil {
			return err
		}
		return a.printPower(&s)
	}
	return cmd
}

// awaitServer reads the server until it is done, and returns it. It fails with CodeWaitTimeout
// after the timeout.
func (a *app) awaitServer(
	ctx context.Context, c *api.Client, s api.Server, timeout time.Duration, done func(*api.Server) bool,
) (api.Server, error) {
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	poll := time.NewTicker(powerPoll)
	defer poll.Stop()
	for !done(&s) {
		select {
		case <-limited.Done():
		case <-poll.C:
			now, err := a.serverInfo(limited, c, s.UUID)
			switch {
			case err == nil:
				s = now
				continue
			case limited.Err() == nil:
				return s, err
			}
		}
		switch {
		case ctx.Err() != nil:
			return s, transfer.Errorf(transfer.CodeCanceled,
				"the call was made; transferctl servers info shows its effect",
				"stopped waiting; server %s is still %s", s.UUID, s.Status)
		case limited.Err() != nil:
			return s, transfer.Errorf(transfer.CodeWaitTimeout, "", "server %s is still %s after %s",
				s.UUID, s.Status, transfer.FormatDuration(timeout))
		}
	}
	return s, nil
}

func (a *app) printPower(s *api.Server) error {
	return a.print(newServerRow(s), func(w io.Writer) { fmt.Fprintln(w, s.UUID, s.Status) })
}

func (a *app) serversReset() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reset ENDPOINT:UUID|NAME",
		Short: "Restart a running server at once, like its reset button",
		Long: `Restart a running server at once, like its reset button, and print its UUID and status. What its
system has not written to its drives is lost.`,
		Example: "  transferctl servers reset zrh:$server",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: a.operands(a.serverOperand),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		c, uuid, err := a.existing(ctx, &serverObjects, args[0])
		if err != nil {
			return err
		}
		s, err := a.serverInfo(ctx, c, uuid)
		if err != nil {
			return err
		}
		if !s.Running() {
			return transfer.Errorf(transfer.CodeConflict, "transferctl servers start "+args[0]+" starts it",
				"server %s is %s, so there is nothing to reset", uuid, s.Status)
		}
		err = a.retryBriefly(ctx, notCarriedOut, func() error { return c.ResetServer(ctx, uuid) })
		if err != nil {
			return inDoubt(err,
				"the server may be restarting all the same: look at its screen before you repeat the reset")
		}
		if s, err = a.serverInfo(ctx, c, uuid); err != nil {
			return err
		}
		return a.printPower(&s)
	}
	return cmd
}
