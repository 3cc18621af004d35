package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/transferd/transferd/internal/queue"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/worker"
)

// migrateFlags are the flags of migrate besides those of all jobs.
type migrateFlags struct {
	dryRun bool
	vlans  []string
}

func (a *app) migrateCommand() *cobra.Command {
	var m migrateFlags
	cmd := &cobra.Command{
		Use:   "migrate ENDPOINT:UUID|NAME ENDPOINT2:",
		Short: "Move a server and its drives to another endpoint",
		Long: `Make a server at another endpoint like the one that is named, with copies of its drives.

The plan is printed first: the drives, the networks, what cannot be carried over and why, whether
the disk suffices at both endpoints, and how long it takes as far as that was measured before. A
server that runs is shut down, all of its drives are cloned, and it is started again at once; jobs
of the queue copy the clones. The new server is made when all copies are complete and verified. It
has the same configuration and the copies in the same devices, stays stopped unless --start is
given, and is compared with the old one field by field. The clones are destroyed. Nothing else
changes at the source, and whatever happens the server runs again.

Without --wait this prints the ID of the job, with --wait the UUID of the new server. The same
command goes on with a migration that was interrupted, and does nothing after one that succeeded.
With --dry-run it only prints the plan, and exits with 2 if the migration would be refused.`,
		Example: `  transferctl migrate zrh:$server lvs: --dry-run
  transferctl migrate zrh:$server lvs: --wait
  transferctl migrate zrh:$server lvs: --name web2 --start --wait`,
		Args: cobra.ExactArgs(2), ValidArgsFunction: a.operands(a.serverOperand, a.endpointOperand),
	}
	f := newJobFlags(cmd, transfer.Migrate)
	f.spec.Mode = transfer.ModeQuiesce
	_ = cmd.Flags().MarkHidden("local") // it exists, so that the error says why it cannot be used
	f.quiesceFlags(cmd.Flags(), "")
	cmd.Flags().BoolVar(&m.dryRun, "dry-run", false, "print the plan and do nothing")
	cmd.Flags().BoolVar(&f.spec.Start, "start", false, "start the new server")
	cmd.Flags().StringArrayVar(&m.vlans, "map-vlan", nil,
		"put what is in VLAN A into VLAN B of the new endpoint, `A=B`, each a UUID or a name (may be repeated)")
	cmd.Flags().StringVar(&f.spec.Name, "name", "", "`name` of the new server (default: that of the old one)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		spec, err := a.buildMigration(cmd.Context(), f, m.vlans, args[0], args[1])
		if err != nil {
			return err
		}
		if m.dryRun {
			return a.planOnly(cmd.Context(), &spec)
		}
		return a.migrate(cmd.Context(), f, spec)
	}
	return cmd
}

// buildMigration makes the spec of a migration.
func (a *app) buildMigration(
	ctx context.Context, f *jobFlags, vlans []string, source, target string,
) (spec transfer.Spec, err error) {
	if f.local {
		return spec, transfer.Errorf(transfer.CodeInvalid, "leave --local out, and start transferd",
			"migrate needs a queue: if this process is killed, another one must start the server again")
	}
	if err := a.checkColon(target); err != nil {
		return spec, err
	}
	to, drive, _ := strings.Cut(target, ":")
	if _, known := a.cfg.Endpoints[to]; known && drive != "" {
		return spec, transfer.Errorf(transfer.CodeInvalid, "write "+to+":, and --name for the name of the new server",
			"a server moves to an endpoint, and %q is a drive", target)
	}
	if f.spec.VLANs, err = parseVLANs(vlans); err != nil {
		return spec, err
	}
	_, uuid, err := a.existing(ctx, &serverObjects, source)
	if err != nil {
		return spec, err
	}
	endpoint, _, _ := strings.Cut(source, ":")
	return a.build(ctx, f, endpoint+":"+uuid, target)
}

// parseVLANs reads the values of --map-vlan.
func parseVLANs(texts []string) (map[string]string, error) {
	vlans := make(map[string]string)
	for _, text := range texts {
		from, to, _ := strings.Cut(text, "=")
		if _, twice := vlans[from]; twice || from == "" || to == "" {
			return nil, transfer.Errorf(transfer.CodeInvalid, "write A=B, once for each VLAN A of the server",
				"--map-vlan: %q does not map a VLAN", text)
		}
		vlans[from] = to
	}
	return vlans, nil
}

// planMigration reads what the migration would do. c may be nil; then nothing was measured.
func (a *app) planMigration(ctx context.Context, c *queue.Client, spec *transfer.Spec) (*transfer.Migration, error) {
	s := &worker.Session{Job: worker.Job{Spec: *spec}}
	m, err := retried(ctx, a, func(ctx context.Context) (*transfer.Migration, error) {
		m, _, err := a.opener().PlanMigration(ctx, s)
		return m, err
	})
	if err != nil || c == nil {
		return m, err
	}
	m.Estimate, err = c.Estimate(ctx, spec, m)
	return m, err
}

// planOnly prints the plan of a migration. It needs no queue.
func (a *app) planOnly(ctx context.Context, spec *transfer.Spec) error {
	c, err := a.queueIfAny(ctx)
	if err != nil {
		a.warn(fmt.Errorf("the time is not estimated: %w", err))
	}
	if c != nil {
		defer c.Close()
	}
	m, err := a.planMigration(ctx, c, spec)
	if err != nil {
		return err
	}
	if a.output != outputText {
		if err := a.print(m, nil); err != nil {
			return err
		}
	} else {
		a.printPlan(spec, m)
	}
	if err := m.Err(); err != nil {
		return &transfer.Error{Op: "plan", Code: transfer.CodeInvalid, Hint: hintOf(err), Err: err}
	}
	return nil
}

// migrate enqueues a migration, or goes on with the one that the queue has. After one that succeeded
// it does nothing.
func (a *app) migrate(ctx context.Context, f *jobFlags, spec transfer.Spec) error {
	c, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	last, exists, err := c.LastOf(ctx, &spec)
	if err != nil {
		return err
	}
	m, err := a.planMigration(ctx, c, &spec)
	if err != nil {
		return err
	}
	goesOn := exists && last.State != transfer.Succeeded && last.Target == spec.Target.Redacted()
	if !goesOn || !m.Moved {
		a.printPlan(&spec, m)
	}
	switch err := m.Err(); {
	case goesOn: // its job has a plan
	case m.Moved:
		job := movedJob(&spec, m, &last)
		return a.print(&job, func(w io.Writer) { fmt.Fprintln(w, m.Server) })
	case err != nil:
		return err
	}
	return a.submitTo(ctx, c, f, spec, m)
}

// movedJob is the job that has moved a server: the last one, or, if the queue has lost its record, one
// without an ID.
func movedJob(spec *transfer.Spec, m *transfer.Migration, last *transfer.Job) transfer.Job {
	if last.State == transfer.Succeeded && last.Migration != nil && last.Migration.Server == m.Server {
		return *last
	}
	job := transfer.NewJob("", spec, time.Now())
	job.State, job.Size, job.Migration = transfer.Succeeded, m.Size(), m
	return job
}
