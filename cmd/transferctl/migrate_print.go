package main

import (
	"cmp"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/transferd/transferd/internal/cli"
	"github.com/transferd/transferd/internal/transfer"
)

// printPlan prints the plan of a migration on stderr.
func (a *app) printPlan(spec *transfer.Spec, m *transfer.Migration) {
	w := cli.EscapeControls(a.stderr)
	if m.Moved {
		fmt.Fprintf(w, "server %s was moved before: it is %s:%s, and nothing is done\n",
			spec.Source, spec.Target.Endpoint, m.Server)
		return
	}
	fmt.Fprintf(w, "migrate server %s to %s as %q\n", spec.Source, spec.Target, m.Name)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i := range m.Drives {
		d := &m.Drives[i]
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\n", d.Device, d.Source, sizeText(d.Size), d.Media, cli.OneLine(d.Name))
	}
	for _, n := range m.Networks {
		fmt.Fprintf(t, "  %s\t%s\t→ %s\n", n.Key, n.Source, cmp.Or(n.Target, "?"))
	}
	_ = t.Flush()
	for _, s := range m.Space {
		fmt.Fprintf(w, "  %s needs %s of disk%s\n", s.Endpoint, sizeText(s.Needed), spaceText(&s))
	}
	fmt.Fprintf(w, "  time: %s; downtime: %s\n", timeText(&m.Estimate), downtimeText(m))
	for _, f := range m.Findings {
		fmt.Fprintf(w, "  %s: %s: %s\n", f.Severity, f.Item, f.Cause)
		if f.Remedy != "" {
			fmt.Fprintf(w, "    %s\n", f.Remedy)
		}
	}
}

func spaceText(s *transfer.Space) string {
	text := "; what is left is not known"
	if s.Left != nil {
		text = "; " + sizeText(*s.Left) + " are left"
	}
	if s.Balance != "" {
		text += ", balance " + s.Balance
	}
	return text
}

func timeText(e *transfer.Estimate) string {
	if e.Seconds == nil {
		return "not known, nothing was copied between these endpoints yet"
	}
	return fmt.Sprintf("about %s, at %s/s (%s)", secondsText(*e.Seconds), sizeText(int64(e.Rate)),
		transfer.Count(e.Jobs, "finished job"))
}

func downtimeText(m *transfer.Migration) string {
	switch d := m.Estimate.Downtime; {
	case !m.Running:
		return "none, the server is stopped"
	case d == nil:
		return "not known, no migration has measured it yet"
	default:
		return "about " + secondsText(*d)
	}
}

func secondsText(s float64) string { return ageText(time.Duration(s * float64(time.Second))) }

// migrationRows adds what is known of a migration to the rows of jobs show.
func migrationRows(j *transfer.Job, row func(name string, value any)) {
	m := j.Migration
	if m == nil {
		return
	}
	row("server", m.Server)
	for i := range m.Drives {
		d := &m.Drives[i]
		row(d.Device, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", d.Source, d.Target, d.Job, d.State)))
	}
	if m.Comparison != nil {
		for _, text := range differences(m.Comparison) {
			row("differs", text)
		}
	}
}

// migrationSummary describes a migration that succeeded.
func migrationSummary(j *transfer.Job) string {
	m := j.Migration
	if m == nil || m.Moved {
		return "the server was moved before, and nothing was done"
	}
	s := fmt.Sprintf("migrate: %s, %s %s", transfer.Count(len(m.Drives), "drive"), sizeText(m.Size()), work(j))
	if m.Downtime != nil {
		s += fmt.Sprintf("; the old server was down for %s", secondsText(m.Downtime.Shutdown+m.Downtime.Clone))
	}
	if m.Comparison != nil {
		s += fmt.Sprintf("\nthe servers are equal in %s", transfer.Count(m.Comparison.Equal, "field"))
		for _, text := range differences(m.Comparison) {
			s += "\n  " + text
		}
	}
	state := "is stopped: transferctl servers start " + j.Target + m.Server + " starts it"
	if m.Started {
		state = "runs"
	}
	return s + "\nthe new server " + state
}

// differences describes the fields that differ.
func differences(c *transfer.Comparison) (texts []string) {
	for i := range c.Differences {
		d := &c.Differences[i]
		texts = append(texts, cli.OneLine(fmt.Sprintf("%s: %s, was %s (%s)",
			d.Field, cmp.Or(d.Target, "none"), cmp.Or(d.Source, "none"), cmp.Or(d.Why, "it should be equal"))))
	}
	return texts
}
