package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/cli"
)

func (a *app) serversCommand() *cobra.Command {
	return group("servers", "List, start and stop the servers of an endpoint",
		"  transferctl servers list zrh:\n  transferctl servers shutdown zrh:$server --wait",
		a.serversList(), a.serversInfo(), a.serversStart(), a.serversStop(), a.serversShutdown(), a.serversReset())
}

// serverRow is a server as the commands for servers print it.
type serverRow struct {
	Server    string            `json:"server"`
	Name      string            `json:"name"`
	Status    string            `json:"status"`
	CPU       int64             `json:"cpu"`           // MHz
	SMP       int               `json:"smp,omitempty"` // 0: the endpoint chooses
	Memory    int64             `json:"memory"`        // bytes
	Addresses []string          `json:"addresses"`
	VNC       string            `json:"vnc,omitempty"`
	StartedAt *time.Time        `json:"started_at,omitempty"`
	Drives    []deviceRow       `json:"drives"`
	Keys      map[string]string `json:"keys"` // all that the endpoint returned but the password of VNC
}

// deviceRow is a drive in a device of a server.
type deviceRow struct {
	Device string `json:"device"`
	Drive  string `json:"drive"`          // UUID
	Name   string `json:"name,omitempty"` // empty: not known
	Size   int64  `json:"size,omitempty"` // bytes; 0: not known
	Media  string `json:"media"`          // disk or cdrom
}

// keyVNCPassword is the key of a server that is never printed.
const keyVNCPassword = "vnc:password"

// addressAuto stands for an address that the endpoint chooses when the server starts.
const addressAuto = "auto"

func newServerRow(s *api.Server) serverRow {
	row := serverRow{
		Server: s.UUID, Name: s.Name, Status: s.Status, CPU: s.CPU, SMP: s.SMP, Memory: s.Mem << 20,
		Addresses: []string{}, Drives: []deviceRow{}, StartedAt: timeIfAny(s.Started), Keys: maps.Clone(s.Keys),
	}
	delete(row.Keys, keyVNCPassword)
	if s.VNC.IP != addressAuto {
		row.VNC = s.VNC.IP
	}
	for _, n := range s.NICs {
		if n.DHCP != "" && n.DHCP != addressAuto {
			row.Addresses = append(row.Addresses, n.DHCP)
		}
	}
	for _, d := range s.Devices {
		row.Drives = append(row.Drives, deviceRow{Device: d.Name, Drive: d.Drive, Media: cmp.Or(d.Media, "disk")})
	}
	return row
}

func (a *app) serversList() *cobra.Command {
	return &cobra.Command{
		Use: "list ENDPOINT:", Short: "List the servers of the account",
		Example: `  transferctl servers list zrh:
  transferctl servers list zrh: -o json`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.operands(a.endpointOperand),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.wholeEndpoint(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			servers, err := retried(cmd.Context(), a, c.Servers)
			if err != nil {
				return err
			}
			a.remember(&serverObjects, args[0], objectsOf(servers, serverObject))
			rows := make([]serverRow, len(servers))
			for i := range servers {
				rows[i] = newServerRow(&servers[i])
			}
			return printList(a, rows, func(w io.Writer) { writeServers(w, rows) })
		},
	}
}

func writeServers(w io.Writer, rows []serverRow) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer t.Flush()
	fmt.Fprintln(t, "SERVER\tSTATUS\tCPU\tMEMORY\tADDRESS\tDRIVES\tNAME")
	for i := range rows {
		r := &rows[i]
		fmt.Fprintf(t, "%s\t%s\t%d MHz\t%s\t%s\t%d\t%s\n", r.Server, r.Status, r.CPU, sizeText(r.Memory),
			cmp.Or(strings.Join(r.Addresses, ", "), "-"), len(r.Drives), cli.OneLine(r.Name))
	}
}

func (a *app) serversInfo() *cobra.Command {
	return &cobra.Command{
		Use: "info ENDPOINT:UUID|NAME", Short: "Show a server and its drives",
		Long: `Show a server and its drives. The password of VNC is left out; transferctl api servers UUID info
prints it.`,
		Example: `  transferctl servers info zrh:$server
  transferctl servers info zrh:$server -o json`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.operands(a.serverOperand),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, uuid, err := a.existing(cmd.Context(), &serverObjects, args[0])
			if err != nil {
				return err
			}
			s, err := a.serverInfo(cmd.Context(), c, uuid)
			if err != nil {
				return err
			}
			row := newServerRow(&s)
			if err := a.nameDrives(cmd.Context(), c, row.Drives); err != nil {
				return err
			}
			return a.print(row, func(w io.Writer) { writeServer(w, &row) })
		},
	}
}

// serverInfo reads the attributes of a server.
func (a *app) serverInfo(ctx context.Context, c *api.Client, uuid string) (api.Server, error) {
	return retried(ctx, a, func(ctx context.Context) (api.Server, error) { return c.Server(ctx, uuid) })
}

// nameDrives adds the names and sizes of drives. Those of the library are not among the account's,
// and stay without a name.
func (a *app) nameDrives(ctx context.Context, c *api.Client, devices []deviceRow) error {
	if len(devices) == 0 {
		return nil
	}
	drives, err := retried(ctx, a, c.Drives)
	if err != nil {
		return err
	}
	for i := range devices {
		same := func(d api.DriveInfo) bool { return strings.EqualFold(d.UUID, devices[i].Drive) }
		if at := slices.IndexFunc(drives, same); at >= 0 {
			devices[i].Name, devices[i].Size = drives[at].Name, drives[at].Size
		}
	}
	return nil
}

func writeServer(w io.Writer, r *serverRow) {
	smp, started := "auto", ""
	if r.SMP > 0 {
		smp = strconv.Itoa(r.SMP)
	}
	if r.StartedAt != nil {
		started = r.StartedAt.Format(time.RFC3339)
	}
	pairs := [][2]string{
		{"server", r.Server}, {"name", r.Name}, {"status", r.Status}, {"started", started},
		{"cpu", fmt.Sprintf("%d MHz", r.CPU)}, {"processors", smp}, {"memory", sizeText(r.Memory)},
		{"address", strings.Join(r.Addresses, ", ")}, {"vnc", r.VNC},
	}
	for _, d := range r.Drives {
		text := d.Drive
		if d.Size > 0 {
			text += fmt.Sprintf(" (%s, %s)", d.Name, sizeText(d.Size))
		}
		if d.Media != "disk" {
			text += ", " + d.Media
		}
		pairs = append(pairs, [2]string{d.Device, text})
	}
	writeDetails(w, pairs)
}
