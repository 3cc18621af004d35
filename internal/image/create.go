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
	Overwrite bool            // an existing target is replaced; a block device needs it
	Resume    bool            // an earlier attempt of the same job has begun
	Roots     Roots           // the folders that files may be in
	Stdout    io.Writer       // the target "-"; nil: none
	Lease     *lease.Lease    // its proof is needed to write and remove files; nil: none is needed
	// Job is the ID of the job. It marks the .partial; the job writes no .partial of another job.
	Job string
	// FromDisk reads a compressed file back from the disk, not from the page cache.
	FromDisk bool

	sys       *fsx.System                   // nil: the kernel's
	freeSpace func(*os.File) (int64, error) // of the file system, bytes; nil: as the kernel says
}

// Create makes the sink of an image: a file, a block device, or "-" for standard output.
//
// A file is written as PATH.partial, which belongs to its job alone. Commit gives it its name and
// writes its manifest, PATH.manifest.json. A raw file is sparse where no chunk is written, and can
// be resumed; so can a qcow2 image, which qemu-img makes of a raw one. A compressed file and
// standard output are written in order, and each attempt starts over. A block device is written in
// place: it has neither a .partial nor a manifest, and its zeros must be written.
//
// Errors: CodeExists if the target, its manifest or a .partial of another job exists; CodeConflict
// while another job writes the target; CodeInvalid if the target is no file; CodeForbidden (also
// outside of the roots); CodeNotFound for a missing folder; CodeNoSpace, also for a qcow2 image
// whose raw image does not fit.
func Create(ctx context.Context, path string, opts CreateOptions) (transfer.Sink, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if opts.Format == "" {
		opts.Format = transfer.FormatRaw
	}
	f := formatNamed(opts.Format)
	if f == nil || !f.writable() {
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
	if f.encode == nil {
		return nil, invalid("write standard output", "give the path of a file",
			"%s is not written in order, and standard output is", f.name)
	}
	out, err := openStdout(opts)
	if err != nil {
		return nil, err
	}
	s, err := newStreamSink(out, f)
	if err != nil {
		return nil, err
	}
	return s.withFrames(), nil
}

func createFile(t target, f *format, opts CreateOptions) (transfer.Sink, error) {
	if f.id == transfer.FormatQcow2 {
		return createQcow2(t, f, opts)
	}
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

// resumeRaw makes a sink that writes a raw image by offset. It keeps what an earlier attempt wrote,
// if the options allow that.
func resumeRaw(p *partial, size int64) (*offsetSink, error) {
	fresh, err := p.resume(size)
	if err != nil {
		return nil, err
	}
	return &offsetSink{
		dest: p, lease: p.opts.Lease, size: size, sparse: true, blank: fresh, disk: newDiskReader(p.f, p.sys),
	}, nil
}

// beginStream makes a sink that writes an image in order, from the beginning.
func beginStream(p *partial) (transfer.Sink, error) {
	s, err := newStreamSink(p, p.format)
	if err != nil {
		return nil, errors.Join(err, p.remove())
	}
	if p.opts.FromDisk {
		s.fromDisk = p.sys
	}
	return s.withFrames(), nil
}

// target describes the file that a path leads to, before it is written.
type target struct {
	op       string
	resolved string
	device   bool
	sys      *fsx.System
}

// findTarget looks at the path and checks whether it may be written.
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
		return t, invalid(t.op, "give the path of a file that does not exist yet", "it exists and is no regular file")
	case !opts.Overwrite && (isDevice(info) || !opts.Resume && !isOfJob(t.resolved, opts.Job)):
		return t, errExists(t.op)
	}
	t.device = isDevice(info)
	return t, nil
}

// checkManifest refuses a target that does not exist but has a manifest: users may need it to
// verify another image. Commit compares a manifest that an earlier attempt of this job left.
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
		Op: op, Code: transfer.CodeExists, Hint: "move the manifest away, choose another path, or give --overwrite",
		Err: errors.New("its " + manifestSuffix + " exists already, of another image"),
	}
}

func errExists(op string) error {
	return &transfer.Error{
		Op: op, Code: transfer.CodeExists, Hint: "choose another path, or give --overwrite",
		Err: errors.New("it exists already"),
	}
}
