package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/cli"
	"github.com/transferd/transferd/internal/endpoints"
	"github.com/transferd/transferd/internal/transfer"
)

func (a *app) drivesCommand() *cobra.Command {
	return group("drives", "List, create, destroy and clean up the drives of an endpoint",
		"  transferctl drives list zrh:\n  transferctl drives info zrh:$drive",
		a.drivesList(), a.drivesInfo(), a.drivesCreate(), a.drivesDestroy(), a.drivesCleanup(), a.drivesStandard())
}

// endpoint connects to the endpoint of an address: NAME, NAME: or NAME:UUID.
func (a *app) endpoint(ctx context.Context, address string) (c *api.Client, drive string, err error) {
	name, drive, _ := strings.Cut(address, ":")
	if drive != "" {
		r, err := endpoints.Schemes.Parse(address)
		if err != nil {
			return nil, "", err
		}
		drive = r.Drive
	}
	if _, ok := a.cfg.Endpoints[name]; !ok {
		return nil, "", unknownEndpoint(name, a.cfg.EndpointNames())
	}
	c, err = a.opener().Client(ctx, name)
	return c, drive, err
}

// existingDrive is like endpoint, for an address that must have a UUID.
func (a *app) existingDrive(ctx context.Context, address string) (*api.Client, string, error) {
	c, drive, err := a.endpoint(ctx, address)
	if err == nil && drive == "" {
		err = transfer.Errorf(transfer.CodeInvalid,
			"write ENDPOINT:UUID; transferctl drives list "+address+" lists the drives", "%q has no UUID", address)
	}
	return c, drive, err
}

type driveRow struct {
	Drive   string            `json:"drive"`
	Name    string            `json:"name"`
	Size    int64             `json:"size"` // bytes
	Status  string            `json:"status"`
	Imaging string            `json:"imaging,omitempty"`
	Keys    map[string]string `json:"keys"` // all that the endpoint returned
}

func newDriveRow(d *api.DriveInfo) driveRow {
	return driveRow{Drive: d.UUID, Name: d.Name, Size: d.Size, Status: d.Status, Imaging: d.Imaging, Keys: d.Keys}
}

func (a *app) printDrive(d *api.DriveInfo) error {
	return a.print(newDriveRow(d), func(w io.Writer) { writeDrives(w, []driveRow{newDriveRow(d)}) })
}

func (a *app) printDrives(drives []api.DriveInfo) error {
	rows := make([]driveRow, len(drives))
	for i := range drives {
		rows[i] = newDriveRow(&drives[i])
	}
	return printList(a, rows, func(w io.Writer) { writeDrives(w, rows) })
}

func writeDrives(w io.Writer, rows []driveRow) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer t.Flush()
	fmt.Fprintln(t, "DRIVE\tSIZE\tSTATUS\tNAME")
	for _, r := range rows {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", r.Drive, sizeText(r.Size), r.Status, cli.OneLine(r.Name))
	}
}

func (a *app) drivesList() *cobra.Command {
	return &cobra.Command{
		Use: "list ENDPOINT:", Short: "List the drives of the account",
		Example: `  transferctl drives list zrh:
  transferctl drives list zrh: -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, _, err := a.endpoint(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			drives, err := retried(cmd.Context(), a, c.Drives)
			if err != nil {
				return err
			}
			return a.printDrives(drives)
		},
	}
}

func (a *app) drivesStandard() *cobra.Command {
	return &cobra.Command{
		Use: "standard ENDPOINT:", Short: "List the images and installation CDs of the endpoint's library",
		Example: "  transferctl drives standard zrh:",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, _, err := a.endpoint(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			drives, err := retried(cmd.Context(), a, c.StandardDrives)
			if err != nil {
				return err
			}
			return a.printDrives(drives)
		},
	}
}

func (a *app) drivesInfo() *cobra.Command {
	return &cobra.Command{
		Use: "info ENDPOINT:UUID", Short: "Show a drive",
		Example: `  transferctl drives info zrh:$drive
  transferctl drives info zrh:$drive -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, drive, err := a.existingDrive(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			info, err := a.driveInfo(cmd.Context(), c, drive)
			if err != nil {
				return err
			}
			return a.printDrive(&info)
		},
	}
}

func (a *app) drivesCreate() *cobra.Command {
	var name, size string
	var tags, readers []string
	cmd := &cobra.Command{
		Use: "create ENDPOINT:", Short: "Create an empty drive and print its UUID",
		Example: `  transferctl drives create zrh: --name data --size 10GiB
  transferctl drives create zrh: --name fast --size 10GiB --tag affinity:ssd`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&name, "name", "", "`name` of the drive")
	cmd.Flags().StringVar(&size, "size", "", "`size` of the drive, such as 10G or 10GiB")
	cmd.Flags().StringArrayVar(&tags, "tag", nil, "`tag` of the drive (may be repeated)")
	cmd.Flags().StringSliceVar(&readers, "readers", nil, "`UUIDs` of accounts that may read the drive, or all")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if name == "" || size == "" {
			return cli.UsageError(cmd, "needs --name and --size")
		}
		bytes, err := parseSize("size", size)
		if err != nil {
			return err
		}
		opts := api.CreateOptions{Name: name, Size: bytes, Tags: tags, Readers: api.ParseReaders(readers)}
		if err := opts.Check(); err != nil {
			return err
		}
		c, _, err := a.endpoint(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		info, err := a.createDrive(cmd.Context(), c, opts)
		if err != nil {
			return err
		}
		return a.print(newDriveRow(&info), func(w io.Writer) { fmt.Fprintln(w, info.UUID) })
	}
	return cmd
}

// driveInfo reads the attributes of a drive.
func (a *app) driveInfo(ctx context.Context, c *api.Client, drive string) (api.DriveInfo, error) {
	return retried(ctx, a, func(ctx context.Context) (api.DriveInfo, error) { return c.Drive(ctx, drive) })
}

// createDrive creates a drive. It does not retry a call that may have created one.
func (a *app) createDrive(ctx context.Context, c *api.Client, o api.CreateOptions) (info api.DriveInfo, err error) {
	err = a.retry(ctx, notCarriedOut, func() (err error) {
		info, err = c.CreateDrive(ctx, o)
		return err
	})
	var e *transfer.Error
	if code := transfer.CodeOf(err); code.Retry() != transfer.RetryNever && !notCarriedOut(code) && errors.As(err, &e) {
		e.Hint = "the drive may exist all the same: check with transferctl drives list"
	}
	return info, err
}
