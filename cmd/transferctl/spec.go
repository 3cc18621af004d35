package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/endpoints"
	"github.com/transferd/transferd/internal/transfer"
)

// jobFlags has the flags that all commands share which move bytes.
type jobFlags struct {
	wait, local bool
	force       bool
	timeout     time.Duration
	concurrency string
	compression string
	chunkSize   string
	limitRate   string
	size        string
	headers     headerFlags
	labels      []string
	spec        transfer.Spec
}

func newJobFlags(cmd *cobra.Command, kind transfer.Kind) *jobFlags {
	f := newRunFlags(cmd, kind)
	if kind != transfer.Migrate { // a server has one migration at a time
		cmd.Flags().BoolVar(&f.force, "force", false,
			"make a new job even if the same job is in the queue; with --local, start over")
	}
	return f
}

// newRunFlags adds the flags of commands that run jobs, a batch among them.
func newRunFlags(cmd *cobra.Command, kind transfer.Kind) *jobFlags {
	f := &jobFlags{spec: transfer.NewSpec(kind, transfer.Ref{}, transfer.Ref{})}
	flags := cmd.Flags()
	flags.BoolVar(&f.wait, "wait", false, "follow the job to its end and exit with its outcome")
	flags.BoolVar(&f.local, "local", false, "run the job in this process: no daemon, no Redis")
	durationFlag(flags, &f.timeout, "timeout",
		"stop waiting after this `duration`, such as 90s, 6h or 7d; the job continues")
	f.changeableFlags(flags)
	flags.StringVar(&f.chunkSize, "chunk-size", "4M", "`size` of a chunk: a multiple of 4k, at most 4M")
	flags.BoolVar(&f.spec.ImageDigest, "image-sha256", false, "also compute the SHA-256 of the whole image")
	flags.StringArrayVar(&f.labels, "label", nil, "`key=value` to select jobs by (may be repeated)")
	return f
}

// changeableFlags adds the flags for options that a retried job may change.
func (f *jobFlags) changeableFlags(flags *pflag.FlagSet) {
	s := &f.spec
	durationFlag(flags, (*time.Duration)(&s.Deadline), "deadline",
		"fail the job if it has not ended this `duration` after it was enqueued, such as 6h")
	flags.StringVar((*string)(&s.Verify), "verify", string(s.Verify), "`level` of verification: written, full or none")
	flags.StringVar(&f.compression, "compression", "auto", "`level` of gzip: auto, none, or 1 to 9")
	flags.StringVar(&f.concurrency, "concurrency", "auto",
		fmt.Sprintf("`n` chunks in flight: auto, or 1 to %d", transfer.MaxConcurrency))
	flags.StringVar(&f.limitRate, "limit-rate", "", "`rate` in bytes a second on the network, such as 50M")
	flags.StringVar(&s.Queue, "queue", s.Queue, "`name` of the queue: the job runs on a host that serves it")
	flags.StringVar((*string)(&s.Priority), "priority", string(s.Priority),
		"`priority` in the queue: low, default or high")
}

// newDriveFlags adds the flags of commands that may make a drive.
func (f *jobFlags) newDriveFlags(flags *pflag.FlagSet) {
	flags.StringVar(&f.spec.Name, "name", "", "`name` of the new drive")
	flags.StringVar(&f.size, "size", "", "`size` of the new drive, such as 10G or 10GiB (default: the image's)")
}

// sourceFormatFlag adds the flag for the format of an image that a command reads.
func (f *jobFlags) sourceFormatFlag(flags *pflag.FlagSet) {
	flags.StringVar((*string)(&f.spec.Format), "format", "",
		"`format` of the image: raw, gz, zst or qcow2 (default: detected from its content)")
}

// sourceFlags adds the flags of commands that read an image.
func (f *jobFlags) sourceFlags(flags *pflag.FlagSet) {
	flags.BoolVar(&f.spec.AllowMounted, "allow-mounted", false,
		"read a device even if a file system on it is mounted read-write")
	flags.BoolVar(&f.spec.Follow, "follow", false,
		"read the other files that the image names, such as its backing file, if they are in the image's own folder")
	flags.StringVar(&f.spec.Spool, "spool", "",
		"`folder` to unpack the image to, if it is read by offset (default: in the state folder)")
	flags.BoolVar(&f.spec.NoHoles, "no-holes", false,
		"read all of a sparse image, including its holes")
	f.headers.add(flags)
}

// modeFlag adds the flag of commands that copy a drive.
func (f *jobFlags) modeFlag(flags *pflag.FlagSet) {
	flags.StringVar((*string)(&f.spec.Mode), "mode", "",
		"`mode` of reading the drive: live, clone or quiesce (default: clone if a running server holds it)")
	f.quiesceFlags(flags, "with --mode quiesce, ")
}

// quiesceFlags adds the flags of commands that may shut servers down. when says when they do.
func (f *jobFlags) quiesceFlags(flags *pflag.FlagSet, when string) {
	durationFlag(flags, (*time.Duration)(&f.spec.QuiesceTimeout), "quiesce-timeout",
		when+"how long a server may take to shut down, a `duration` (default 5m)")
	flags.BoolVar(&f.spec.ForceStop, "force-stop", false,
		when+"stop a server that does not shut down in time, which is like a power cut")
	flags.BoolVar(&f.spec.AllowNewAddress, "allow-new-address", false,
		when+"shut down a server whose address may be another one when it is started again")
}

// keepTailFlag adds the flag of commands that may write to a target that is larger than the image.
func (f *jobFlags) keepTailFlag(flags *pflag.FlagSet, target string) {
	flags.BoolVar(&f.spec.KeepTail, "keep-tail", false,
		"with --overwrite, keep what a larger "+target+" has behind the image (default: zeros)")
}

// build makes the spec of a job from the flags and the two addresses, and checks it. It looks up
// drives that an address names.
func (a *app) build(ctx context.Context, f *jobFlags, source, target string) (transfer.Spec, error) {
	s := f.spec
	err := firstError(a.checkColon(source), a.checkColon(target))
	if err != nil {
		return s, err
	}
	if source, err = a.withUUID(ctx, source); err != nil {
		return s, err
	}
	if target, err = a.withUUID(ctx, target); err != nil {
		return s, err
	}
	if s.Source, err = absoluteRef(source); err != nil {
		return s, err
	}
	if s.Target, err = absoluteRef(target); err != nil {
		return s, err
	}
	if s.Spool != "" {
		if s.Spool, err = filepath.Abs(s.Spool); err != nil {
			return s, fmt.Errorf("--spool: make path absolute: %w", err)
		}
	}
	if s.Compression, err = transfer.ParseCompression(f.compression); err != nil {
		return s, transfer.Errorf(transfer.CodeOf(err), hintOf(err), "--compression: %w", err)
	}
	if s.Concurrency, err = parseConcurrency(f.concurrency); err != nil {
		return s, err
	}
	chunkSize, err := parseSize("chunk-size", f.chunkSize)
	if err != nil {
		return s, err
	}
	s.ChunkSize = int(min(chunkSize, 2*transfer.MaxChunkSize)) // too large stays too large in an int
	if s.LimitRate, err = parseSize("limit-rate", f.limitRate); err != nil {
		return s, err
	}
	if s.Size, err = parseSize("size", f.size); err != nil {
		return s, err
	}
	if s.Labels, err = parseLabels(f.labels); err != nil {
		return s, err
	}
	s.Readers = api.ParseReaders(s.Readers)
	return s, checkSpec(&s)
}

// parseLabels reads the values of --label.
func parseLabels(texts []string) (map[string]string, error) {
	if len(texts) == 0 {
		return nil, nil
	}
	labels := make(map[string]string)
	for _, text := range texts {
		key, value, ok := strings.Cut(text, "=")
		if !ok {
			return nil, transfer.Errorf(transfer.CodeInvalid, "write KEY=VALUE", "--label: %q is not a label", text)
		}
		labels[key] = value
	}
	return labels, nil
}

// anyDrive stands for the UUID that a user has left out.
const anyDrive = "00000000-0000-0000-0000-000000000000"

// checkSpec checks s. If s were valid with swapped addresses, apart from a UUID that is left out,
// the hint has the corrected command.
func checkSpec(s *transfer.Spec) error {
	err := endpoints.Schemes.Check(s)
	if err == nil {
		return nil
	}
	swapped := *s
	swapped.Source, swapped.Target = s.Target, s.Source
	for kind, existing := range map[transfer.Kind]*transfer.Ref{
		transfer.Download: &swapped.Source, transfer.Verify: &swapped.Target,
	} {
		if s.Kind == kind && existing.IsDrive() && existing.Drive == "" {
			existing.Drive = anyDrive
		}
	}
	if code := transfer.CodeOf(endpoints.Schemes.Check(&swapped)); code != "" && code != transfer.CodeExists {
		return err
	}
	return transfer.Errorf(transfer.CodeInvalid, swappedHint(&swapped), "the two arguments seem swapped")
}

// swappedHint has the commands that a user may have meant, whose arguments in the right order are
// those of swapped.
func swappedHint(swapped *transfer.Spec) string {
	command := func(kind transfer.Kind, first, second transfer.Ref) string {
		text := fmt.Sprintf("transferctl %s %s %s", kind, first.Redacted(), second.Redacted())
		return strings.ReplaceAll(text, anyDrive, "UUID")
	}
	source, target := swapped.Source, swapped.Target
	hint := "write " + command(swapped.Kind, source, target)
	switch {
	case swapped.Kind == transfer.Verify:
		return "write " + command(swapped.Kind, target, source) // the drive comes first
	case swapped.Kind == transfer.Upload && target.Drive != "":
		hint += ", or " + command(transfer.Download, target, source)
	case swapped.Kind == transfer.Download && source.Drive == anyDrive:
		hint += ", or " + command(transfer.Upload, target, transfer.Ref{Endpoint: source.Endpoint})
	}
	return hint
}

// checkColon refuses the name of an endpoint without its colon, which would be a file name.
func (a *app) checkColon(address string) error {
	if _, ok := a.cfg.Endpoints[address]; !ok {
		return nil
	}
	return transfer.Errorf(transfer.CodeInvalid,
		"write "+address+": for the endpoint, or ./"+address+" for a file of that name",
		"%q is the name of an endpoint, and its colon is missing", address)
}

// absoluteRef parses an address and makes a path in it absolute.
func absoluteRef(address string) (transfer.Ref, error) {
	r, err := endpoints.Schemes.Parse(address)
	if err != nil {
		return r, err
	}
	return r.Abs()
}

// parseConcurrency reads the value of --concurrency; auto is 0.
func parseConcurrency(s string) (int, error) {
	if s == "auto" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > transfer.MaxConcurrency {
		return 0, transfer.Errorf(transfer.CodeInvalid, "use auto, or a number in this range",
			"--concurrency %s is out of range 1-%d", s, transfer.MaxConcurrency)
	}
	return n, nil
}
