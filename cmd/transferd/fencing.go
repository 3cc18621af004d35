package main

import (
	"cmp"
	"fmt"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/lease"
	"github.com/transferd/transferd/internal/queue"
)

// openLife begins the proof that this process has ended, for when it has. Without it whoever takes its jobs over waits.
func (d *daemon) openLife(name string) *lease.Life {
	l, err := lease.OpenLife(filepath.Join(d.cfg.State, "workers"), name)
	if err != nil {
		d.log.Warn("state folder not usable, jobs of this process are taken over more slowly if it is killed", zap.Error(err))
		return nil
	}
	d.onStop(l.Close)
	return l
}

// startGuard has a process of its own end the connections of this one when it stands still: long before its jobs are
// taken over.
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

// guardCommand is what startGuard starts. It ends with the process that started it, and by no signal: what stops a
// service, or a terminal, sends one to all of its processes.
func guardCommand() *cobra.Command {
	return &cobra.Command{
		Use: guardName + " PATIENCE", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
			patience, err := time.ParseDuration(args[0])
			if err != nil || patience <= 0 {
				return fmt.Errorf("no patience: %s", args[0])
			}
			return lease.RunGuard(patience)
		},
	}
}
