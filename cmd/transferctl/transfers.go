package main

import (
	"net/url"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/image"
	"github.com/transferd/transferd/internal/transfer"
)

func (a *app) uploadCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "upload SOURCE ENDPOINT:[UUID|NAME]",
		Short: "Copy an image to a drive, a new one if none is named",
		Long: `Copy an image to a new drive, or to the drive with the UUID or the name.

SOURCE is a file or block device on the worker's host, an http(s) URL, or - for standard input
with --local. Images that gzip, zstd, xz or bzip2 compressed are decompressed, the one disk in a tar
archive or OVA is found, and of a virtual disk (qcow2, VMDK, VHD, VHDX, VDI) the disk is copied;
other image formats are refused. --format raw copies the bytes unchanged. So does a manifest next to
the file, as a download leaves it, if it describes these bytes. A file that differs from its
manifest fails the job; with --format the manifest is not read.

A virtual disk may name other files, such as its backing file or, in a VMDK descriptor, its data.
They are read only with --follow, and only in the image's own folder. One that is packed is unpacked
first, to the folder of --spool on the worker's host; nothing stays there.

Without --wait this prints the ID of the job, with --wait or --local the UUID of the drive. An
existing drive is written only with --overwrite. If it is larger than the image, its tail
becomes zeros, unless --keep-tail is given.`,
		Example: `  transferctl upload disk.img zrh:
  transferctl upload disk.img.gz zrh: --name golden --wait
  transferctl upload disk.img zrh: --local                 # no daemon, no queue
  transferctl upload disk.img zrh:$drive --overwrite --wait
  gzip -dc disk.img.gz | transferctl upload - zrh: --size 10GiB --allow-short --local`,
		Args: cobra.ExactArgs(2), ValidArgsFunction: a.operands(fileOperand, a.driveOperand),
	}
	f := newJobFlags(cmd, transfer.Upload)
	f.newDriveFlags(cmd.Flags())
	f.attributeFlags(cmd.Flags())
	cmd.Flags().BoolVar(&f.spec.Overwrite, "overwrite", false, "replace the content of the drive with this UUID")
	f.keepTailFlag(cmd.Flags(), "drive")
	cmd.Flags().StringVar(&f.spec.SHA256, "sha256", "",
		"fail unless the image, or its compressed file, has this SHA-256, in `hex`")
	cmd.Flags().StringVar(&f.spec.SHA256URL, "sha256-url", "",
		"fail unless the image, or its file as published, has the SHA-256 that the list at this `URL` has for it")
	f.sourceFormatFlag(cmd.Flags())
	cmd.Flags().BoolVar(&f.spec.AllowShort, "allow-short", false,
		"accept that standard input ends before --size; the rest of the drive is zeros")
	f.sourceFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		spec, err := a.build(cmd.Context(), f, args[0], args[1])
		if err != nil {
			return err
		}
		if spec.Target.Drive == "" && spec.Name == "" {
			spec.Name = imageName(spec.Source)
		}
		return a.submit(cmd.Context(), f, spec)
	}
	return cmd
}

// attributeFlags adds the flags for tags and readers of a new drive.
func (f *jobFlags) attributeFlags(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.spec.Tags, "tag", nil, "`tag` of the new drive, such as affinity:ssd (may be repeated)")
	flags.StringSliceVar(&f.spec.Readers, "readers", nil, "`UUIDs` of accounts that may read the new drive, or all")
}

// imageName is the name of a new drive for an image: the file name without the endings of image
// formats.
func imageName(r transfer.Ref) string {
	name := filepath.Base(r.Path)
	switch {
	case r.IsStd():
		name = "stdin"
	case r.IsURL():
		if u, err := url.Parse(r.Path); err == nil {
			name = path.Base(u.Path)
		}
	}
	if name = api.DriveName(image.WithoutEndings(name)); name == "" || name == "." || name == "/" {
		return "image"
	}
	return name // a file name may have line breaks, the name of a drive must not
}

func (a *app) downloadCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "download ENDPOINT:UUID|NAME DEST",
		Short: "Copy a drive to an image file",
		Long: `Copy a drive to an image file on the worker's host, or to - for standard output with --local.

The ending of DEST, or --format, chooses the format; an ending that contradicts --format is
refused. Zstandard is written as seekable frames of one chunk each. qcow2 is made by qemu-img of a
raw image next to it, and needs space for both.

The file is sparse where the drive has zeros. It appears under its name when it is complete,
with DEST.manifest.json, which has its digests, next to it. Without --wait this prints the ID of
the job, with --wait or --local the path.

A drive that a running server holds is not read while the server may write to it: its endpoint
clones it, the clone is read and then destroyed. If the endpoint does not clone it, the job ends
at once (in_use). --mode live reads it as it is, so that the image may mix what the drive held at
different times; --mode clone reads a clone in any case. --mode quiesce shuts the servers
that hold the drive down, clones it, and starts them again at once; it needs a queue, which sees
to it that they are started again whatever happens. The result and the manifest say that the
drive was in use, and how it was read.`,
		Example: `  transferctl download zrh:$drive copy.img --wait
  transferctl download zrh:$drive copy.img.zst --wait      # compressed
  transferctl download zrh:$drive copy.qcow2 --wait
  transferctl download zrh:$drive copy.img --overwrite --verify full --wait
  transferctl download zrh:$drive - --local | sha256sum`,
		Args: cobra.ExactArgs(2), ValidArgsFunction: a.operands(a.driveOperand, fileOperand),
	}
	f := newJobFlags(cmd, transfer.Download)
	cmd.Flags().StringVar((*string)(&f.spec.Format), "format", "",
		"`format` of the image: raw, gz, zst or qcow2, which needs qemu-img (default by DEST's ending, else raw)")
	cmd.Flags().BoolVar(&f.spec.Overwrite, "overwrite", false, "replace DEST if it exists")
	f.keepTailFlag(cmd.Flags(), "block device")
	f.modeFlag(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if f.spec.Format, err = image.FormatOfName(args[1], f.spec.Format); err != nil {
			return err
		}
		return a.buildAndSubmit(cmd.Context(), f, args[0], args[1])
	}
	return cmd
}

func (a *app) cloneCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "clone ENDPOINT:UUID|NAME [ENDPOINT2:]",
		Short: "Copy a drive to a new drive",
		Long: `Copy a drive to a new drive. On one endpoint this calls the clone of the API and compares the
two drives. To another endpoint it copies chunk by chunk, without a local file. Without --wait
this prints the ID of the job, with --wait or --local the UUID of the new drive.

A drive that a running server holds is copied to another endpoint from a clone, which is then
destroyed. If its endpoint does not clone it, the job ends at once (in_use). --mode live copies it
as it is, chunk by chunk on one endpoint too, so that the new drive may mix what the drive held at
different times; --mode clone copies from a clone in any case. --mode quiesce shuts the servers
that hold the drive down, clones it, and starts them again at once; it needs a queue, which sees
to it that they are started again whatever happens. The result says that the drive was
in use, and how it was read.`,
		Example: `  transferctl clone zrh:$drive --wait
  transferctl clone zrh:$drive lvs: --name copy --wait`,
		Args: cobra.RangeArgs(1, 2), ValidArgsFunction: a.operands(a.driveOperand, a.endpointOperand),
	}
	f := newJobFlags(cmd, transfer.Clone)
	f.newDriveFlags(cmd.Flags())
	f.modeFlag(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		target := strings.SplitN(args[0], ":", 2)[0] + ":"
		if len(args) == 2 {
			target = args[1]
		}
		return a.buildAndSubmit(cmd.Context(), f, args[0], target)
	}
	return cmd
}

func (a *app) verifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify ENDPOINT:UUID|NAME IMAGE|MANIFEST",
		Short: "Compare a drive with an image, or with a manifest",
		Long: `Read all of a drive and compare it with an image or a manifest on the worker's host. A drive may
be larger than the image if the rest is zeros. With --wait or --local this prints "equal", or
the exit status is 5.`,
		Example: `  transferctl verify zrh:$drive disk.img --wait
  transferctl verify zrh:$drive disk.img.manifest.json --wait
  transferctl verify zrh:$drive disk.img.gz --local`,
		Args: cobra.ExactArgs(2), ValidArgsFunction: a.operands(a.driveOperand, fileOperand),
	}
	f := newJobFlags(cmd, transfer.Verify)
	f.sourceFormatFlag(cmd.Flags())
	f.sourceFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.buildAndSubmit(cmd.Context(), f, args[1], args[0]) // the image is the source
	}
	return cmd
}
