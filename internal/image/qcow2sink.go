package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/transfer"
)

// qemuImg is the program that converts a raw image.
const qemuImg = "qemu-img"

// qcow2Sink writes a raw image by offset into PATH.raw.partial, which can be resumed. Commit makes
// PATH of it: qemu-img converts it into PATH.partial, what that holds is read with the reader of
// this program and compared with the manifest, and only then it gets its name. It is safe for
// concurrent use.
type qcow2Sink struct {
	*offsetSink          // of the raw image
	raw         *partial // where it is
	out         *partial // PATH.partial
	program     string   // the path of qemu-img
	published   bool
	via         transfer.ReadVia // how out was read back; empty: not yet
}

var (
	_ transfer.Sink         = (*qcow2Sink)(nil)
	_ transfer.WriteBacker  = (*qcow2Sink)(nil)
	_ transfer.BlankChecker = (*qcow2Sink)(nil)
	_ transfer.Clearer      = (*qcow2Sink)(nil)
	_ transfer.Discarder    = (*qcow2Sink)(nil)
	_ transfer.Flusher      = (*qcow2Sink)(nil)
	_ transfer.DiskReader   = (*qcow2Sink)(nil)
	_ transfer.Local        = (*qcow2Sink)(nil)
)

// createQcow2 makes a sink for a qcow2 image. What the conversion needs is checked here, before
// anything is transferred: the program, and space for the raw image.
func createQcow2(t target, f *format, opts CreateOptions) (_ transfer.Sink, err error) {
	program, err := exec.LookPath(qemuImg)
	if err != nil {
		return nil, invalid(t.op, "install it (Debian, Ubuntu: apt-get install qemu-utils), or download to a name "+
			"that ends in .img, and convert that",
			"%s, which converts the image to qcow2, is not in the PATH of the host that runs the job", qemuImg)
	}
	if opts.Size%sectorSize != 0 {
		return nil, invalid(t.op, "write a raw image", "a qcow2 image cannot have %s, which are not a multiple of %d",
			transfer.Count(opts.Size, "byte"), sectorSize)
	}
	s := &qcow2Sink{program: program}
	if s.out, err = openPartial(t, f, opts, false); err != nil {
		return nil, err
	}
	t.resolved += ".raw"
	if s.raw, err = openPartial(t, &raw, opts, opts.Resume); err != nil {
		return nil, errors.Join(err, s.out.remove(), s.out.Close())
	}
	if s.offsetSink, err = resumeRaw(s.raw, opts.Size); err != nil {
		return nil, errors.Join(err, s.raw.Close(), s.out.remove(), s.out.Close())
	}
	if err = s.checkSpace(); err != nil {
		if s.blank {
			err = errors.Join(err, s.raw.remove())
		}
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

const sectorSize = 512 // of a qcow2 image, bytes

// checkSpace fails if there is no space for the rest of the raw image.
func (s *qcow2Sink) checkSpace() error {
	stored, err := allocated(s.raw.f)
	if err != nil {
		return s.raw.stepError("stat "+s.raw.entry, err)
	}
	return s.needSpace(s.size-stored, "the raw image that becomes the qcow2 image")
}

// needSpace fails unless the file system of the target has n bytes.
func (s *qcow2Sink) needSpace(n int64, what string) error {
	count := s.out.opts.freeSpace
	if count == nil {
		count = freeSpace
	}
	free, err := count(s.out.f)
	if err != nil {
		return s.out.stepError("find the free space", err)
	}
	if free >= n {
		return nil
	}
	return &transfer.Error{
		Op: s.out.op, Code: transfer.CodeNoSpace,
		Hint: "free space on the disk, then retry the job; or download to a name that ends in .img, .gz or .zst",
		Err:  fmt.Errorf("%s needs %s, and %d are free", what, transfer.Count(n, "byte"), free),
	}
}

// freeSpace is how much this user can still write to the file system of f, in bytes.
func freeSpace(f *os.File) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// allocated is how much of f is stored, in bytes, without its holes.
func allocated(f *os.File) (int64, error) {
	var st unix.Stat_t
	err := unix.Fstat(int(f.Fd()), &st)
	return st.Blocks * 512, err // the unit of stat(2)
}

// Commit implements transfer.Sink. A difference is CodeMismatch with its offset in the image.
func (s *qcow2Sink) Commit(ctx context.Context, m *transfer.Manifest, owned func(context.Context) error) error {
	if err := owned(ctx); err != nil {
		return err
	}
	if err := s.clearUnwritten(ctx, m); err != nil {
		return err
	}
	if err := s.convert(ctx); err != nil {
		return err
	}
	if err := s.verify(ctx, m); err != nil {
		return err
	}
	if err := s.out.publish(ctx, m, owned); err != nil {
		return err
	}
	s.published = true
	return s.raw.remove()
}

// convert runs qemu-img. It gets the two files as open descriptors, so no change to their names
// leads it to others. If this process dies, qemu-img keeps the lock of PATH.partial until it ends.
func (s *qcow2Sink) convert(ctx context.Context) error {
	stored, err := allocated(s.raw.f)
	if err != nil {
		return s.raw.stepError("stat "+s.raw.entry, err)
	}
	const tables = 1 << 20 // at least, and a thousandth
	if err := s.needSpace(stored+stored/1000+tables, "the qcow2 image"); err != nil {
		return err
	}
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, s.program, //nolint:gosec // found in PATH, with constant arguments
		"convert", "-f", "raw", "-O", "qcow2", "/proc/self/fd/3", "/proc/self/fd/4")
	cmd.ExtraFiles = []*os.File{s.raw.f, s.out.f}
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"} // not the passwords in this one's environment
	cmd.Stderr = &output
	if err = cmd.Run(); err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	text, _, _ := strings.Cut(strings.TrimSpace(output.String()), "\n")
	e := &transfer.Error{
		Op: s.out.op, Code: transfer.CodeFailed, Err: fmt.Errorf("%s: %w: %s", qemuImg, err, text),
		Hint: "download to a name that ends in .img, and convert that",
	}
	if strings.Contains(text, "No space left") || strings.Contains(text, "quota") {
		e.Code, e.Hint = transfer.CodeNoSpace, "free space on the disk, then retry the job"
	}
	return e
}

// verify compares what qemu-img wrote with the manifest.
func (s *qcow2Sink) verify(ctx context.Context, m *transfer.Manifest) (err error) {
	op := "verify " + s.out.name()
	if s.out.opts.FromDisk {
		if err := s.out.sync(); err != nil { // a read would not report the error
			return err
		}
		s.via, err = verifyOnDisk(ctx, op, s.out.f, s.out.sys, s.out.format, m)
		return err
	}
	info, err := s.out.f.Stat()
	if err != nil {
		return s.out.stepError("stat "+s.out.entry, err)
	}
	s.via = transfer.ReadCached
	file := bytesOf(s.out.name(), &File{f: s.out.f, path: s.out.name(), size: info.Size()})
	return verifyDisk(ctx, op, file, s.out.format, m)
}

// ReadVia implements transfer.Local: for the raw image, until the qcow2 image was read back.
func (s *qcow2Sink) ReadVia() transfer.ReadVia {
	if s.via == "" {
		return s.offsetSink.ReadVia()
	}
	return s.via
}

// Discard removes what was written; after Commit there is nothing to remove.
func (s *qcow2Sink) Discard(context.Context) error {
	return errors.Join(s.raw.remove(), s.out.remove())
}

// Close removes a qcow2 image that was not completed. The raw image stays for a later attempt.
func (s *qcow2Sink) Close() error {
	var err error
	if !s.published && s.out.opts.Lease.Check() == nil {
		err = s.out.remove()
	}
	return errors.Join(err, s.offsetSink.Close(), s.out.Close())
}
