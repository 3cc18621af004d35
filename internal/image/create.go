package image

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/transferd/transferd/internal/fsx"
	"github.com/transferd/transferd/internal/lease"
	"github.com/transferd/transferd/internal/transfer"
)

// CreateOptions says how an image is written.
type CreateOptions struct {
	Format    transfer.Format // empty: raw
	Size      int64           // of the image, bytes
	Overwrite bool            // the target may be there already, and is replaced; a block device needs it
	Resume    bool            // an earlier attempt of the same job has begun
	Roots     Roots           // the folders that files may be in
	Stdout    io.Writer       // what "-" writes; nil: nothing
	Lease     *lease.Lease    // without its proof nothing is written or removed; nil: it always holds
	// Job is the ID of the job, which marks its .partial: no other job's is written.
	Job string
	// FromDisk reads a compressed file back from the disk, and not from the page cache.
	FromDisk bool

	sys *fsx.System // nil: the kernel's
}

// Create makes the sink of an image: a file, a block device, or "-" for standard output.
//
// A file is written as PATH.partial, which is its job's alone, and gets its name in Commit,
// together with its manifest, PATH.manifest.json. A raw file is sparse where no chunk is written,
// and can be resumed. A compressed one, like standard output, is written in order and starts over
// each time. A block device is written in place: it has neither a .partial nor a manifest, and its
// zeros must be written.
//
// Errors: CodeExists for a target that exists, or its manifest, or a .partial that this job did not
// make, CodeConflict while another job writes it, CodeInvalid for one that is no file,
// CodeForbidden (also outside of the roots), CodeNotFound for a missing folder, CodeNoSpace.
func Create(ctx context.Context, path string, opts CreateOptions) (transfer.Sink, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if opts.Format == "" {
		opts.Format = transfer.FormatRaw
	}
	f := formatNamed(opts.Format)
	if f == nil {
		return nil, invalid("create "+path, hintFormats, "%q is not a format", opts.Format)
	}
	if opts.sys == nil {
		opts.sys = fsx.Kernel()
	}
	if opts.Size < 0 {
		return nil, invalid("create "+path, "", "an image cannot have %d bytes", opts.Size)
	}
	if (transfer.Ref{Path: path}).IsStd() {
		return createStream(f, opts)
	}
	t, err := findTarget(path, opts)
	if err != nil {
		return nil, err
	}
	if t.device {
		return openDevice(t, opts)
	}
	return createFile(t, f, opts)
}

func createStream(f *format, opts CreateOptions) (transfer.Sink, error) {
	out, err := openStdout(opts)
	if err != nil {
		return nil, err
	}
	return newStreamSink(out, f)
}

func createFile(t target, f *format, opts CreateOptions) (transfer.Sink, error) {
	raw := f.id == transfer.FormatRaw
	p, err := openPartial(t, f, opts, raw && opts.Resume)
	if err != nil {
		return nil, err
	}
	var s transfer.Sink
	if raw {
		s, err = resumeRaw(p, opts.Size)
	} else {
		s, err = beginStream(p)
	}
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return s, nil
}

// resumeRaw writes a raw image by offset, and goes on where an earlier attempt left off if it may.
func resumeRaw(p *partial, size int64) (*offsetSink, error) {
	fresh, err := p.resume(size)
	if err != nil {
		return nil, err
	}
	return &offsetSink{
		place: p, lease: p.opts.Lease, size: size, sparse: true, blank: fresh, disk: newDiskReader(p.f, p.sys),
	}, nil
}

// beginStream writes an image in order, from the beginning.
func beginStream(p *partial) (*streamSink, error) {
	s, err := newStreamSink(p, p.format)
	if err != nil {
		return nil, errors.Join(err, p.remove())
	}
	if p.opts.FromDisk {
		s.fromDisk = p.sys
	}
	return s, nil
}

// target is what a path says of a file that is to be written.
type target struct {
	op       string
	resolved string
	device   bool
	sys      *fsx.System
}

// findTarget checks what is at the path, and whether it may be written.
func findTarget(path string, opts CreateOptions) (t target, err error) {
	t.op, t.sys = "create "+path, opts.sys
	if t.resolved, err = opts.Roots.Check(path); err != nil {
		return t, err
	}
	info, err := os.Lstat(t.resolved)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return t, t.checkManifest(opts)
	case err != nil:
		return t, fileError(t.op, err)
	case !info.Mode().IsRegular() && !isDevice(info):
		return t, invalid(t.op, "give the path of a file that is not there yet", "it is there and no regular file")
	case !opts.Overwrite && (isDevice(info) || !opts.Resume):
		return t, errExists(t.op)
	}
	t.device = isDevice(info)
	return t, nil
}

// checkManifest refuses a target that does not exist but has a manifest, which may be kept to
// verify another image. One that an earlier attempt of this job left is compared in Commit.
func (t *target) checkManifest(opts CreateOptions) error {
	if opts.Overwrite || opts.Resume {
		return nil
	}
	_, err := os.Lstat(t.resolved + manifestSuffix)
	switch {
	case err == nil:
		return errManifestExists(t.op)
	case errors.Is(err, os.ErrNotExist):
		return nil
	}
	return fileError(t.op, err)
}

func errManifestExists(op string) error {
	return &transfer.Error{
		Op: op, Code: transfer.CodeExists, Hint: "move it away, choose another path, or give --overwrite",
		Err: errors.New("its " + manifestSuffix + " is there already, of another image"),
	}
}

func errExists(op string) error {
	return &transfer.Error{
		Op: op, Code: transfer.CodeExists, Hint: "choose another path, or give --overwrite", Err: errors.New("it is there already"),
	}
}
