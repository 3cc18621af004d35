package image

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/transfer"
)

const (
	// spoolPiece is how much is written at once, and the smallest hole, in bytes.
	spoolPiece = 256 << 10
	// spoolCheck is how much is written between two looks at the free space, in bytes.
	spoolCheck = 64 << 20
	// maxSpoolReserve is the most space that stays free, in bytes: the state folder also has the
	// journals of the queue.
	maxSpoolReserve = 1 << 30
	reserveShare    = 20 // of the file system stays free at least
)

// spool is a file without a name for the copy of an unpacked image. The kernel frees it when the
// process ends, whatever ends it, so no copy is ever left over.
type spool struct {
	file   *os.File
	folder string // for messages
	size   int64  // of the image so far, bytes
	// unchecked is how much was written since the last look at the free space, bytes.
	unchecked int64
}

// openSpool makes a spool in Options.Spool, a folder below the roots, or else in
// Options.DefaultSpool, which it makes for the user alone.
func openSpool(opts Options) (*spool, error) {
	path, roots := opts.Spool, opts.Roots
	if path == "" {
		path, roots = opts.DefaultSpool, Roots{opts.DefaultSpool}
		if err := os.MkdirAll(path, 0o700); err != nil {
			return nil, fileError("make the folder "+path, err)
		}
	}
	resolved, err := roots.Check(path)
	if err != nil {
		return nil, err
	}
	dir, err := roots.openFolder(resolved)
	if err != nil {
		return nil, err
	}
	f, err := dir.openUnnamed()
	if err = errors.Join(err, dir.Close()); err != nil {
		return nil, fileError("make a file in "+path, err)
	}
	return &spool{file: f, folder: path}, nil
}

// openUnnamed makes a file that has no name. On a file system without such files (NFS, some FUSE)
// it has one for an instant.
func (d *folder) openUnnamed() (*os.File, error) {
	const flags = unix.O_RDWR | unix.O_CLOEXEC | unix.O_EXCL
	fd, err := unix.Openat(int(d.dir.Fd()), ".", unix.O_TMPFILE|flags, 0o600)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EISDIR) {
		name := ".transferd-spool-" + rand.Text()
		fd, err = unix.Openat(int(d.dir.Fd()), name, unix.O_CREAT|unix.O_NOFOLLOW|flags, 0o600)
		if err == nil {
			err = unix.Unlinkat(int(d.dir.Fd()), name, 0)
		}
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), d.dir.Name()), nil
}

// write appends all of an image. need is its size in bytes; -1: unknown. If there is not enough
// space, the error is CodeNoSpace and says how much is needed.
func (s *spool) write(ctx context.Context, image *contents, need int64) error {
	full := s.checkSpace(need)
	if full != nil && need >= 0 {
		return s.errNoSpace(image.name, need, full)
	}
	for buf := make([]byte, spoolPiece); ; {
		n, err := image.next(ctx, buf)
		if full == nil {
			full = s.append(buf[:n])
		}
		s.size += int64(n)
		switch {
		case full != nil && !isNoSpace(full):
			return fileError("write to "+s.folder, full)
		case errors.Is(err, io.EOF) && full != nil:
			return s.errNoSpace(image.name, s.size, full)
		case errors.Is(err, io.EOF):
			return s.file.Truncate(s.size)
		case err != nil:
			return err
		}
	}
}

// append writes p to the end of the image, or leaves a hole for zeros.
func (s *spool) append(p []byte) error {
	if len(bytes.TrimLeft(p, "\x00")) == 0 {
		return nil
	}
	if s.unchecked += int64(len(p)); s.unchecked >= spoolCheck {
		s.unchecked = 0
		if err := s.checkSpace(0); err != nil {
			return err
		}
	}
	_, err := s.file.WriteAt(p, s.size)
	return err
}

// errSpoolFull is the error of a file system without space for an image of a size.
type errSpoolFull struct{ free int64 }

func (e errSpoolFull) Error() string { return fmt.Sprintf("%d bytes are free for it", e.free) }

func isNoSpace(err error) bool {
	return errors.As(err, new(errSpoolFull)) || transfer.CodeOf(fileError("", err)) == transfer.CodeNoSpace
}

// checkSpace fails if there is no space for n more bytes.
func (s *spool) checkSpace(n int64) error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(s.file.Fd()), &st); err != nil {
		return nil //nolint:nilerr // a write shows whether there is space
	}
	free := int64(st.Bavail) * st.Bsize
	free -= min(int64(st.Blocks)*st.Bsize/reserveShare, maxSpoolReserve)
	if free < max(n, 1) {
		return errSpoolFull{max(free, 0)}
	}
	return nil
}

func (s *spool) errNoSpace(name string, need int64, err error) error {
	return &transfer.Error{
		Op: "unpack " + name + " to " + s.folder, Code: transfer.CodeNoSpace,
		Hint: "free space there, or name a folder with more space by --spool DIR",
		Err:  fmt.Errorf("the image needs %s: %w", transfer.Count(need, "byte"), withoutPath(err)),
	}
}

// openSpooled unpacks an image to a spool, and opens it there. The source owns the medium, and not
// the image.
func openSpooled(ctx context.Context, m medium, r reading, image *contents, opts Options) (transfer.Source, error) {
	op := "unpack " + m.name()
	if opts.Spool == "" && opts.DefaultSpool == "" {
		return nil, invalid(op, "name a folder for it by --spool DIR",
			"the image is read by offset, so it is unpacked to a file first, and there is no folder for that")
	}
	if image.inside.disk != nil {
		image.minSize, image.maxSize = 0, 0 // of the disk, not of its file
	}
	s, err := openSpool(opts)
	if err != nil {
		return nil, err
	}
	if err := s.write(ctx, image, image.knownSize(m, r)); err != nil {
		return nil, errors.Join(orChanged(ctx, m, err), s.file.Close())
	}
	p := &part{
		medium: m, outer: image.outer, inside: image.inside,
		notes: image.ignored(), storedSum: image.storedSum,
	}
	if image.out.member != nil {
		p.label = image.out.member.name
	}
	src, err := s.open(ctx, p, r, opts)
	if err != nil {
		return nil, errors.Join(err, s.file.Close())
	}
	return src, nil
}

func (s *spool) open(ctx context.Context, p *part, r reading, opts Options) (transfer.Source, error) {
	f := &File{f: s.file, path: p.name()}
	p.bytes = f
	if err := f.inspect("unpack " + p.name()); err != nil {
		return nil, err
	}
	return openPart(ctx, p, r, opts)
}
