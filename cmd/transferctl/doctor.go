package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/transferd/transferd/internal/config"
	"github.com/transferd/transferd/internal/transfer"
)

// severity is the urgency of a finding.
type severity string

const (
	fine    severity = "ok"
	warning severity = "warning" // works now, may fail later
	broken  severity = "error"   // does not work
)

// finding is a result of one check.
type finding struct {
	Check    string   `json:"check"`             // config, queue, workers, endpoint, clock, roots, disk, leftovers
	Subject  string   `json:"subject,omitempty"` // which endpoint, queue, folder …
	Severity severity `json:"severity"`
	Message  string   `json:"message"`
	Remedy   string   `json:"remedy,omitempty"` // empty if the severity is ok
}

// diagnosis is the JSON of doctor.
type diagnosis struct {
	OK       bool      `json:"ok"`
	Findings []finding `json:"findings"`
}

// doctor runs the checks. It skips a check that depends on a failed one.
type doctor struct {
	app      *app
	findings []finding
	check    string // the one that runs now
}

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check config, queue, workers, endpoints, clocks, disk and leftovers, and print remedies",
		Long: `Check the config, the queue and its durability, the workers of each queue, the endpoints and
their clocks, the roots, the disk of the state folder, and the leftovers of jobs. Each finding
has its remedy. The exit status is 0 if all checks pass, and 1 if one does not.`,
		Example: `  transferctl doctor
  transferctl doctor -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := &doctor{app: a}
			d.run(cmd.Context())
			return a.report(d.findings)
		},
	}
}

func (d *doctor) run(ctx context.Context) {
	d.check = "config"
	cfg, err := config.Load(d.app.configPath)
	if err != nil {
		d.fail("", err)
		return
	}
	d.app.cfg = cfg
	d.ok("", transfer.Count(len(cfg.Endpoints), "endpoint")+", state folder "+cfg.State)
	q := d.checkQueue(ctx)
	if q != nil {
		defer q.Close()
		d.checkWorkers(ctx, q)
	}
	d.checkEndpoints(ctx, q)
	d.checkRoots()
	d.checkDisk()
	d.checkLeftFiles(ctx, q)
}

func (d *doctor) add(s severity, subject, message, remedy string) {
	d.findings = append(d.findings, finding{
		Check: d.check, Subject: subject, Severity: s, Message: message, Remedy: remedy,
	})
}

func (d *doctor) ok(subject, message string) { d.add(fine, subject, message, "") }

// fail adds err with its hint as the remedy.
func (d *doctor) fail(subject string, err error) { d.add(broken, subject, err.Error(), hintOf(err)) }

// report prints the findings, and returns an error if one is not ok.
func (a *app) report(findings []finding) error {
	bad := 0
	for i := range findings {
		if findings[i].Severity != fine {
			bad++
		}
	}
	all := diagnosis{OK: bad == 0, Findings: findings}
	if err := a.print(all, func(w io.Writer) { writeFindings(w, findings) }); err != nil {
		return err
	}
	if bad == 0 {
		return nil
	}
	return transfer.Errorf(transfer.CodeFailed, "apply the remedy of each",
		"findings that need attention: %d of %d", bad, len(findings))
}

func writeFindings(w io.Writer, findings []finding) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer t.Flush()
	for i := range findings {
		f := &findings[i]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", f.Severity, f.Check, f.Subject, f.Message)
		if f.Remedy != "" {
			fmt.Fprintf(t, "\t\t\tremedy: %s\n", f.Remedy)
		}
	}
}
