package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/cli"
)

func (a *app) drivesCommand() *cobra.Command {
	return group("drives", "List, create, change, share and destroy the drives of an endpoint",
		"  transferctl drives list zrh:\n  transferctl drives info zrh:$drive",
		a.drivesList(), a.drivesInfo(), a.drivesCreate(), a.drivesSet(), a.drivesShare(), a.drivesDestroy(),
		a.drivesCleanup(), a.drivesStandard())
}

func (a *app) drivesList() *cobra.Command {
	var name string
	var tags []string
	cmd := &cobra.Command{
		Use: "list ENDPOINT:", Short: "List the drives of the account",
		Long: `List the drives of the account, with the running servers that hold them. With --name or --tag,
list only those with this name and all of these tags.`,
		Example: `  transferctl drives list zrh:
  transferctl drives list zrh: --tag affinity:ssd
  transferctl drives list zrh: --name data -o json`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.operands(a.endpointOperand),
	}
	cmd.Flags().StringVar(&name, "name", "", "list only the drives with this `name`")
	cmd.Flags().StringArrayVar(&tags, "tag", nil, "list only the drives with this `tag` (may be repeated)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.wholeEndpoint(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		drives, err := retried(cmd.Context(), a, c.Drives)
		if err != nil {
			return err
		}
		a.remember(&driveObjects, args[0], objectsOf(drives, driveObject))
		drives = slices.DeleteFunc(drives, func(d api.DriveInfo) bool {
			return cmd.Flags().Changed("name") && d.Name != name ||
				slices.ContainsFunc(tags, func(tag string) bool { return !slices.Contains(d.Tags, tag) })
		})
		return a.printDrives(cmd.Context(), c, drives)
	}
	return cmd
}

func (a *app) drivesStandard() *cobra.Command {
	return &cobra.Command{
		Use: "standard ENDPOINT:", Short: "List the images and installation CDs of the endpoint's library",
		Example: "  transferctl drives standard zrh:",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: a.operands(a.endpointOperand),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.wholeEndpoint(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			drives, err := retried(cmd.Context(), a, c.StandardDrives)
			if err != nil {
				return err
			}
			return a.printDrives(cmd.Context(), c, drives)
		},
	}
}

func (a *app) drivesInfo() *cobra.Command {
	return &cobra.Command{
		Use: "info ENDPOINT:UUID|NAME", Short: "Show a drive",
		Example: `  transferctl drives info zrh:$drive
  transferctl drives info zrh:$drive -o json`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.operands(a.driveOperand),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, drive, err := a.existing(cmd.Context(), &driveObjects, args[0])
			if err != nil {
				return err
			}
			info, err := a.driveInfo(cmd.Context(), c, drive)
			if err != nil {
				return err
			}
			return a.printDrive(cmd.Context(), c, &info)
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
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.operands(a.endpointOperand),
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
		c, err := a.wholeEndpoint(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		info, err := a.createDrive(cmd.Context(), c, opts)
		if err != nil {
			return err
		}
		return a.print(newDriveRow(&info, nil), func(w io.Writer) { fmt.Fprintln(w, info.UUID) })
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
	return info, inDoubt(err, "the drive may exist all the same: check with transferctl drives list")
}
