package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/transfer"
)

func (a *app) endpointsCommand() *cobra.Command {
	return group("endpoints", "List and check the endpoints of the config", "  transferctl endpoints check",
		a.endpointsList(), a.endpointsCheck())
}

type endpointRow struct {
	Name string `json:"name"`
	URL  string `json:"url"`
	User string `json:"user"`
}

func (a *app) endpointsList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the endpoints of the config",
		Example: "  transferctl endpoints list",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			var rows []endpointRow
			for _, name := range a.cfg.EndpointNames() {
				e := a.cfg.Endpoints[name]
				rows = append(rows, endpointRow{Name: name, URL: e.URL, User: e.User})
			}
			return printList(a, rows, func(w io.Writer) {
				t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
				defer t.Flush()
				fmt.Fprintln(t, "NAME\tURL\tUSER")
				for _, r := range rows {
					fmt.Fprintf(t, "%s\t%s\t%s\n", r.Name, r.URL, r.User)
				}
			})
		},
	}
}

type endpointCheck struct {
	Name    string            `json:"name"`
	OK      bool              `json:"ok"`
	Account string            `json:"account,omitempty"` // the profile's UUID
	Seconds float64           `json:"seconds"`           // of one call, the connection included
	Error   *transfer.Failure `json:"error,omitempty"`

	clock time.Time // the endpoint's; zero: not known
}

func (a *app) endpointsCheck() *cobra.Command {
	return &cobra.Command{
		Use:   "check [NAME...]",
		Short: "Log in to endpoints",
		Long: `Log in to the endpoints that are named, or to all, and print account and response time. The exit
status is that of the first failure.`,
		Example: `  transferctl endpoints check
  transferctl endpoints check zrh`,
		ValidArgsFunction: a.operands(a.endpointName),
		RunE: func(cmd *cobra.Command, names []string) error {
			if len(names) == 0 {
				names = a.cfg.EndpointNames()
			}
			if len(names) == 0 {
				return noEndpoints()
			}
			var checks []endpointCheck
			var first error
			for _, name := range names {
				if _, ok := a.cfg.Endpoints[name]; !ok {
					return unknownEndpoint(name, a.cfg.EndpointNames())
				}
				check, err := a.checkStarted(cmd.Context(), name)
				checks = append(checks, check)
				if first == nil {
					first = err
				}
			}
			if err := printList(a, checks, func(w io.Writer) { writeChecks(w, checks) }); err != nil {
				return err
			}
			return first
		},
	}
}

func noEndpoints() error {
	return transfer.Errorf(transfer.CodeInvalid,
		"add one to the config under `endpoints:`, with url, user and password_env; or try transferd --dev",
		"the config has no endpoints")
}

func (a *app) checkEndpoint(ctx context.Context, name string) (endpointCheck, error) {
	check, started := endpointCheck{Name: name}, time.Now()
	c, err := a.opener().Client(ctx, name)
	if err == nil {
		var profile api.Profile
		profile, err = c.Profile(ctx)
		check.Account, check.clock = profile.ID(), profile.Clock
	}
	check.OK, check.Seconds, check.Error = err == nil, time.Since(started).Seconds(), transfer.FailureOf(err)
	return check, err
}

// checkStarted is checkEndpoint for an endpoint that may be starting.
func (a *app) checkStarted(ctx context.Context, name string) (check endpointCheck, err error) {
	err = a.awaitStart(ctx, name, endpointWait, func() error {
		check, err = a.checkEndpoint(ctx, name)
		return err
	})
	return check, err
}

func writeChecks(w io.Writer, checks []endpointCheck) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer t.Flush()
	for _, c := range checks {
		if c.OK {
			fmt.Fprintf(t, "%s\tok\taccount %s\t%.0f ms\n", c.Name, c.Account, c.Seconds*1000)
		} else {
			fmt.Fprintf(t, "%s\tfailed\t%s\t\n", c.Name, c.Error.Code)
		}
	}
}
