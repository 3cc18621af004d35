package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/transferd/transferd/internal/endpoints"
	"github.com/transferd/transferd/internal/transfer"
)

// jobFlags are the flags that upload, download, clone and verify share.
type jobFlags struct {
	wait, local bool
	force       bool
	timeout     time.Duration
	concurrency string
	compression string
	chunkSize   string
	limitRate   string
	size        string
	spec        transfer.Spec
}

func newJobFlags(cmd *cobra.Command, kind transfer.Kind) *jobFlags {
	f := &jobFlags{spec: transfer.NewSpec(kind, transfer.Ref{}, transfer.Ref{})}
	s, flags := &f.spec, cmd.Flags()
	flags.BoolVar(&f.wait, "wait", false, "follow the job to its end and exit with its outcome")
	flags.BoolVar(&f.local, "local", false, "run the job in this process: no daemon, no Redis")
	durationFlag(flags, &f.timeout, "timeout", "fail the wait, not the job, after this `duration`: 90s, 6h, 7d")
	durationFlag(flags, (*time.Duration)(&s.Deadline), "deadline",
		"fail the job if it has not ended this `duration` after it was enqueued")
	flags.BoolVar(&f.force, "force", false,
		"make another job even if one that does the same has not ended; with --local start over")
	flags.StringVar((*string)(&s.Verify), "verify", string(s.Verify), "what to read back: written, full or none")
	flags.StringVar(&f.compression, "compression", "auto", "auto, none or a gzip `level` from 1 to 9")
	flags.StringVar(&f.concurrency, "concurrency", "auto", "`chunks` in flight: auto or a number")
	flags.StringVar(&f.chunkSize, "chunk-size", "4M", "`bytes` a chunk: a multiple of 4k, at most 4M")
	flags.StringVar(&f.limitRate, "limit-rate", "", "`bytes` a second on the wire (k, M, G and T are powers of 1024)")
	flags.StringVar(&s.Queue, "queue", s.Queue, "run the job on a host that serves this `queue`")
	flags.StringVar((*string)(&s.Priority), "priority", string(s.Priority), "low, default or high")
	flags.BoolVar(&s.ImageDigest, "image-sha256", false, "also compute the SHA-256 of the whole image, as sha256sum prints it")
	return f
}

// newDriveFlags adds the flags of commands that may make a drive.
func (f *jobFlags) newDriveFlags(flags *pflag.FlagSet) {
	flags.StringVar(&f.spec.Name, "name", "", "`name` of the new drive")
	flags.StringVar(&f.size, "size", "", "`bytes` of the new drive, if larger than the image (k, M, G and T are powers of 1024)")
}

// sourceFormatFlag adds the flag of commands that read an image, for its format.
func (f *jobFlags) sourceFormatFlag(flags *pflag.FlagSet) {
	flags.StringVar((*string)(&f.spec.Format), "format", "",
		"`format` of the image, whatever its content looks like: raw, gz or zst (default: by its content)")
}

// sourceFlags adds the flags of commands that read a device or a sparse image.
func (f *jobFlags) sourceFlags(flags *pflag.FlagSet) {
	flags.BoolVar(&f.spec.AllowMounted, "allow-mounted", false,
		"read a device also while a file system on it is mounted read-write")
	flags.BoolVar(&f.spec.NoHoles, "no-holes", false,
		"read all of a sparse image, also what its file system calls holes")
}

// keepTailFlag adds the flag of commands that may write to a target which is larger than the image.
func (f *jobFlags) keepTailFlag(flags *pflag.FlagSet, target string) {
	flags.BoolVar(&f.spec.KeepTail, "keep-tail", false,
		"with --overwrite, leave what a larger "+target+" holds behind the image; else it becomes zeros")
}

// build is the spec that the flags and the two addresses make.
func (a *app) build(f *jobFlags, source, target string) (transfer.Spec, error) {
	s := f.spec
	err := firstError(a.checkColon(source), a.checkColon(target))
	if err != nil {
		return s, err
	}
	if s.Source, err = absolute(source); err != nil {
		return s, err
	}
	if s.Target, err = absolute(target); err != nil {
		return s, err
	}
	if s.Compression, err = transfer.ParseCompression(f.compression); err != nil {
		return s, err
	}
	if s.Concurrency, err = parseConcurrency(f.concurrency); err != nil {
		return s, err
	}
	chunkSize, err := parseSize("chunk-size", f.chunkSize)
	if err != nil {
		return s, err
	}
	s.ChunkSize = int(min(chunkSize, 2*transfer.MaxChunkSize)) // more than the most allowed stays so
	if s.LimitRate, err = parseSize("limit-rate", f.limitRate); err != nil {
		return s, err
	}
	if s.Size, err = parseSize("size", f.size); err != nil {
		return s, err
	}
	return s, checkSpec(&s)
}

// checkSpec runs the check of all schemes, and adds a hint if the two addresses are swapped.
func checkSpec(s *transfer.Spec) error {
	err := endpoints.Schemes.Check(s)
	if err == nil {
		return nil
	}
	swapped := *s
	swapped.Source, swapped.Target = s.Target, s.Source
	if code := transfer.CodeOf(endpoints.Schemes.Check(&swapped)); code != "" && code != transfer.CodeExists {
		return err
	}
	first, second := swapped.Source.Redacted(), swapped.Target.Redacted()
	if s.Kind == transfer.Verify {
		first, second = second, first // the drive comes first, and is the target
	}
	hint := fmt.Sprintf("write transferctl %s %s %s", s.Kind, first, second)
	if s.Kind == transfer.Upload && s.Source.Drive != "" {
		hint += fmt.Sprintf(", or transferctl download %s %s", second, first)
	}
	return transfer.Errorf(transfer.CodeInvalid, hint, "the two addresses are the wrong way round")
}

// checkColon refuses the name of an endpoint without its colon, which would be the name of a file.
func (a *app) checkColon(address string) error {
	if _, ok := a.cfg.Endpoints[address]; !ok {
		return nil
	}
	return transfer.Errorf(transfer.CodeInvalid,
		"for the endpoint write "+address+": and for a file of that name ./"+address,
		"%q is the name of an endpoint, and its colon is missing", address)
}

func absolute(address string) (transfer.Ref, error) {
	r, err := endpoints.Schemes.Parse(address)
	if err != nil {
		return r, err
	}
	return r.Abs()
}

func parseConcurrency(s string) (int, error) {
	if s == "auto" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, transfer.Errorf(transfer.CodeInvalid, "use auto or a number from 1", "--concurrency: %q is not a number of chunks", s)
	}
	return n, nil
}
