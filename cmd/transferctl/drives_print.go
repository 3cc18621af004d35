package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/cli"
	"github.com/transferd/transferd/internal/transfer"
)

// driveRow is a drive as the commands for drives print it.
type driveRow struct {
	Drive     string            `json:"drive"`
	Name      string            `json:"name"`
	Size      int64             `json:"size"` // bytes
	Status    string            `json:"status"`
	Imaging   string            `json:"imaging,omitempty"`
	Tags      []string          `json:"tags"`
	ClaimType string            `json:"claim_type"` // exclusive or shared
	Readers   []string          `json:"readers"`    // UUIDs, or all
	HeldBy    []holder          `json:"held_by"`
	Keys      map[string]string `json:"keys"` // all that the endpoint returned
}

// holder is what holds a drive.
type holder struct {
	Server string `json:"server,omitempty"` // UUID; empty: no server
	Name   string `json:"name,omitempty"`   // of the server; empty: not known
	Device string `json:"device,omitempty"`
	Claim  string `json:"claim"` // as the endpoint has it
}

// String is the holder as tables have it.
func (h holder) String() string {
	if h.Server == "" {
		return h.Claim
	}
	return "server " + cmp.Or(h.Name, h.Server)
}

// keyClaimType is the key of a drive that says whether several servers may hold it at once.
const keyClaimType = "claim:type"

// newDriveRow describes a drive. servers has the names of servers by their UUIDs.
func newDriveRow(d *api.DriveInfo, servers map[string]string) driveRow {
	row := driveRow{
		Drive: d.UUID, Name: d.Name, Size: d.Size, Status: d.Status, Imaging: d.Imaging, Tags: notNil(d.Tags),
		ClaimType: cmp.Or(d.Keys[keyClaimType], claimExclusive), Readers: readersText(d.Readers), HeldBy: []holder{},
		Keys: d.Keys,
	}
	for _, text := range d.Claimed {
		claim := api.ParseClaim(text)
		row.HeldBy = append(row.HeldBy,
			holder{Server: claim.Server, Name: servers[claim.Server], Device: claim.Device, Claim: claim.Text})
	}
	return row
}

// notNil is a list that JSON has as an array, even without elements.
func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// serverNamesTimeout is how long the names of servers may take: a list of drives does not wait for
// them longer.
const serverNamesTimeout = 5 * time.Second

// serverNames is the names, by UUID, of the servers that hold drives. Without the names the UUIDs
// are printed: not every endpoint has the call, and it is no reason to fail.
func (a *app) serverNames(ctx context.Context, c *api.Client, drives []api.DriveInfo) map[string]string {
	held := slices.ContainsFunc(drives, func(d api.DriveInfo) bool {
		return slices.ContainsFunc(d.Claimed, func(text string) bool { return api.ParseClaim(text).Server != "" })
	})
	if !held {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, serverNamesTimeout)
	defer cancel()
	servers, err := c.Servers(ctx)
	if err != nil && !errors.Is(err, api.ErrUnsupported) {
		a.warn(fmt.Errorf("the names of servers are not known: %w", err))
	}
	names := make(map[string]string, len(servers))
	for i := range servers {
		names[servers[i].UUID] = servers[i].Name
	}
	return names
}

func (a *app) printDrives(ctx context.Context, c *api.Client, drives []api.DriveInfo) error {
	rows, names := make([]driveRow, len(drives)), a.serverNames(ctx, c, drives)
	for i := range drives {
		rows[i] = newDriveRow(&drives[i], names)
	}
	return printList(a, rows, func(w io.Writer) { writeDrives(w, rows) })
}

func writeDrives(w io.Writer, rows []driveRow) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer t.Flush()
	fmt.Fprintln(t, "DRIVE\tSIZE\tSTATUS\tHELD BY\tNAME")
	for i := range rows {
		r := &rows[i]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", r.Drive, sizeText(r.Size), r.status(),
			cli.OneLine(cmp.Or(joined(r.HeldBy, holder.String), "-")), cli.OneLine(r.Name))
	}
}

// status is the status of the drive and, while the endpoint makes it, the progress.
func (r *driveRow) status() string { return strings.TrimSpace(r.Status + " " + r.Imaging) }

// joined is a list of texts without repetitions.
func joined[T any](list []T, text func(T) string) string {
	var texts []string
	for _, v := range list {
		if s := text(v); !slices.Contains(texts, s) {
			texts = append(texts, s)
		}
	}
	return strings.Join(texts, ", ")
}

func (a *app) printDrive(ctx context.Context, c *api.Client, d *api.DriveInfo) error {
	r := newDriveRow(d, a.serverNames(ctx, c, []api.DriveInfo{*d}))
	return a.print(r, func(w io.Writer) {
		writeDetails(w, [][2]string{
			{"drive", r.Drive}, {"name", r.Name},
			{"size", fmt.Sprintf("%s (%s)", sizeText(r.Size), transfer.Count(r.Size, "byte"))},
			{"status", r.status()}, {"held by", joined(r.HeldBy, heldText)}, {"claim type", r.ClaimType},
			{"tags", strings.Join(r.Tags, " ")}, {"readers", strings.Join(r.Readers, " ")},
		})
	})
}

// heldText is a holder with all that is known of it.
func heldText(h holder) string {
	if h.Server == "" {
		return h.Claim
	}
	text := "server " + h.Server
	if h.Name != "" {
		text = fmt.Sprintf("server %s (%s)", h.Name, h.Server)
	}
	return text + " at " + h.Device
}

// writeDetails writes labels and values, a pair a line. It leaves out those without a value.
func writeDetails(w io.Writer, pairs [][2]string) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer t.Flush()
	for _, p := range pairs {
		if p[1] != "" {
			fmt.Fprintf(t, "%s\t%s\n", p[0], cli.OneLine(p[1]))
		}
	}
}
