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

// openLife opens the file by which others can prove that this process has ended. Without it a
// transferd that takes its jobs over waits longer.
func (d *daemon) openLife(name string) *lease.Life {
	l, err := lease.OpenLife(filepath.Join(d.cfg.State, "workers"), name)
	if err != nil {
		d.log.Warn("state folder not usable, jobs of this process are taken over more slowly if it is killed",
			zap.Error(err))
		return nil
	}
	d.onStop(l.Close)
	return l
}

// startGuard starts a process that ends the connections of this one when it stands still, long
// before its jobs are taken over.
func (d *daemon) startGuard(jobs time.Duration, life *lease.Life) *lease.Guard {
	patience := cmp.Or(jobs, queue.DefaultLease) / 3
	cmd := exec.Command("/proc/self/exe", guardName, patience.String()) //nolint:gosec // it is this program
	cmd.Dir, cmd.Env = "/", []string{}                                  // it needs neither this folder nor passwords
	g, err := lease.StartGuard(cmd, patience, life)
	if err != nil {
		d.log.Warn("guard not started, connections of this process stay open if it is stopped", zap.Error(err))
		return nil
	}
	d.onStop(g.Close)
	return g
}

const guardName = "guard"

// guardCommand is what startGuard starts. It ends with the process that started it. It ignores
// signals, because a service manager or a terminal sends them to all processes of the service.
func guardCommand() *cobra.Command {
	return &cobra.Command{
		Use: guardName + " PATIENCE", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
			patience, err := time.ParseDuration(args[0])
			if err != nil || patience <= 0 {
				return transfer.Errorf(transfer.CodeInvalid, "transferd starts this by itself",
					"%s: %q is not a duration above 0", guardName, args[0])
			}
			return lease.RunGuard(patience)
		},
	}
}
