package main

import (
	"net/url"
	"path"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/transferd/transferd/internal/image"
	"github.com/transferd/transferd/internal/transfer"
)

func (a *app) uploadCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "upload SOURCE ENDPOINT:[UUID]",
		Short: "Copy an image to a drive, a new one if no UUID is given",
		Long: `Copy an image to a drive, a new one if no UUID is given.

SOURCE is a file or block device on the worker's host, an http(s) URL, or - for standard input with --local. Images
compressed by gzip or zstd are unpacked on the way; content of another image format is refused. --format raw takes the
bytes as they are. So does the manifest that a download leaves next to its file, if it describes those bytes. With
--wait the drive's UUID is printed.

A drive that exists is written only with --overwrite. If it is larger than the image, the rest of it becomes zeros, or
stays as it is with --keep-tail.`,
		Args: cobra.ExactArgs(2),
	}
	f := newJobFlags(cmd, transfer.Upload)
	f.newDriveFlags(cmd.Flags())
	cmd.Flags().StringArrayVar(&f.spec.Tags, "tag", nil, "`tag` of the new drive (may be repeated; affinity:ssd asks for SSD)")
	cmd.Flags().StringSliceVar(&f.spec.Readers, "readers", nil, "`UUIDs` of accounts that may read the new drive")
	cmd.Flags().BoolVar(&f.spec.Overwrite, "overwrite", false, "write to the drive with this UUID, and replace what it holds")
	f.keepTailFlag(cmd.Flags(), "drive")
	cmd.Flags().StringVar(&f.spec.SHA256, "sha256", "",
		"fail unless the image, or the compressed file that it comes in, has this SHA-256 (`hex`)")
	f.sourceFormatFlag(cmd.Flags())
	cmd.Flags().BoolVar(&f.spec.AllowShort, "allow-short", false,
		"let standard input end before --size; the rest of the drive is zeros")
	f.sourceFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		spec, err := a.build(f, args[0], args[1])
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

// imageName is what a new drive is called after its image: the file's name without the endings of image formats.
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
	for _, ending := range []string{".gz", ".zst", ".img", ".raw"} {
		name = strings.TrimSuffix(name, ending)
	}
	if name == "" || name == "." || name == "/" {
		name = "image"
	}
	return strings.Map(func(r rune) rune { // a file's name may have line breaks, a drive's may not
		if unicode.IsControl(r) {
			return '_'
		}
		return r
	}, name)
}

func (a *app) downloadCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "download ENDPOINT:UUID DEST",
		Short: "Copy a drive to an image file",
		Long: `Copy a drive to an image file on the worker's host, or to - for standard output with --local.

The file is sparse where the drive holds zeros, and appears when it is complete; DEST.manifest.json next to it holds the
digests to verify it by later. With --wait the path is printed.`,
		Args: cobra.ExactArgs(2),
	}
	f := newJobFlags(cmd, transfer.Download)
	cmd.Flags().StringVar((*string)(&f.spec.Format), "format", "",
		"`format` of the image: raw, gz or zst (default by DEST's ending, else raw)")
	cmd.Flags().BoolVar(&f.spec.Overwrite, "overwrite", false, "replace DEST if it exists")
	f.keepTailFlag(cmd.Flags(), "block device")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if f.spec.Format == "" {
			if f.spec.Format, err = image.FormatOfName(args[1]); err != nil {
				return err
			}
		}
		return a.buildAndSubmit(cmd.Context(), f, args[0], args[1])
	}
	return cmd
}

func (a *app) cloneCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "clone ENDPOINT:UUID [ENDPOINT2:]",
		Short: "Copy a drive to a new drive",
		Long: `Copy a drive to a new drive. On one endpoint the endpoint copies by itself, and the two drives are compared; to
another endpoint the drive is streamed, with no local disk. With --wait the new drive's UUID is printed.`,
		Args: cobra.RangeArgs(1, 2),
	}
	f := newJobFlags(cmd, transfer.Clone)
	f.newDriveFlags(cmd.Flags())
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
		Use:   "verify ENDPOINT:UUID IMAGE|MANIFEST",
		Short: "Compare a drive with an image, or with a manifest",
		Long: `Read all of a drive and compare it with an image or a manifest on the worker's host. A drive may be larger than
the image if the rest is zeros. Exit status 5 means that they differ.`,
		Args: cobra.ExactArgs(2),
	}
	f := newJobFlags(cmd, transfer.Verify)
	f.sourceFormatFlag(cmd.Flags())
	f.sourceFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.buildAndSubmit(cmd.Context(), f, args[1], args[0]) // the image is read, the drive compared with it
	}
	return cmd
}
