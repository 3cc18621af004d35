package main

import (
	"cmp"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/lease"
	"github.com/transferd/transferd/internal/queue"
	"github.com/transferd/transferd/internal/transfer"
)

// openLife opens the file by which other processes can prove that this one has ended. Without it
// the takeover of its jobs takes longer.
func (d *daemon) openLife(name string) *lease.Life {
	l, err := lease.OpenLife(filepath.Join(d.cfg.State, "workers"), name)
	if err != nil {
		d.log.Warn("state folder not usable, takeover of jobs is slower if this process is killed",
			zap.Error(err))
		return nil
	}
	d.onStop(l.Close)
	return l
}

// startGuard starts a process that closes the connections of this one when this one is stopped,
// long before others take its jobs over.
func (d *daemon) startGuard(jobs time.Duration, life *lease.Life) *lease.Guard {
	patience := cmp.Or(jobs, queue.DefaultLease) / 3
	cmd := exec.Command("/proc/self/exe", guardName, patience.String()) //nolint:gosec // it is this program
	cmd.Dir, cmd.Env = "/", []string{}                                  // needs no folder, and no passwords
	g, err := lease.StartGuard(cmd, patience, life)
	if err != nil {
		d.log.Warn("guard not started, connections of this process stay open if it is stopped", zap.Error(err))
		return nil
	}
	d.onStop(g.Close)
	return g
}

const guardName = "guard"

// guardCommand is the command that startGuard runs. It ends with the process that started it. It
// ignores signals, because a service manager or a terminal sends them to all processes.
func guardCommand() *cobra.Command {
	return &cobra.Command{
		Use: guardName + " PATIENCE", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
			patience, err := time.ParseDuration(args[0])
			if err != nil || patience <= 0 {
				return transfer.Errorf(transfer.CodeInvalid, "leave this command to transferd, which starts it",
					"%s: %q is not a duration above 0", guardName, args[0])
			}
			return lease.RunGuard(patience)
		},
	}
}
