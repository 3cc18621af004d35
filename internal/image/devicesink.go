package image

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/fsx"
	"github.com/transferd/transferd/internal/transfer"
)

// device is a block device that is written in place.
type device struct {
	f    *os.File
	path string
	sys  *fsx.System
}

var _ seekable = (*device)(nil)

// openDevice opens a block device exclusively, which the kernel refuses while the device is mounted
// (open(2), O_EXCL).
func openDevice(t target, opts CreateOptions) (transfer.Sink, error) {
	if opts.Format != transfer.FormatRaw {
		return nil, invalid(t.op, "leave --format out", "a block device takes a raw image only")
	}
	f, err := opts.Roots.open(t.resolved, os.O_RDWR|unix.O_EXCL)
	if err != nil {
		return nil, err
	}
	d, err := newDeviceSink(t, f, opts)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return d, nil
}

// newDeviceSink makes a sink for an image of opts.Size bytes. Its zeros must be written, because
// the device may hold any data.
func newDeviceSink(t target, f *os.File, opts CreateOptions) (*offsetSink, error) {
	capacity, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, fileError(t.op, err)
	}
	if capacity < opts.Size {
		return nil, invalid(t.op, "give a larger device",
			"the image has %s, and the device only %d", transfer.Count(opts.Size, "byte"), capacity)
	}
	d := &device{f: f, path: t.resolved, sys: t.sys}
	// A write of another program, or of an earlier attempt, may have failed without a report. The
	// kernel reports it at the next sync, once. It is no error of this job.
	if d.sync() != nil {
		if err := d.sync(); err != nil {
			return nil, err
		}
	}
	return &offsetSink{dest: d, lease: opts.Lease, size: capacity, disk: newDiskReader(f, t.sys)}, nil
}

func (d *device) name() string { return d.path }

func (d *device) file() *os.File { return d.f }

// publish waits until the device has stored everything.
func (d *device) publish(ctx context.Context, _ *transfer.Manifest, _ ownership) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return d.sync()
}

func (d *device) sync() error {
	if err := d.sys.Sync(d.f); err != nil {
		return errLost("write "+d.path+" to disk", err)
	}
	return nil
}

// remove does nothing: the job did not make the device.
func (d *device) remove() error { return nil }

// Close closes the device; written data stays.
func (d *device) Close() error {
	if err := d.f.Close(); err != nil {
		return errLost("close "+d.path, err)
	}
	return nil
}
