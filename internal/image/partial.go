package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/fsx"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/verify"
)

// partial is a file on its way: PATH.partial, locked against other jobs, until publish gives it its
// name. Everything goes through the open folder, so that nothing done to the path leads elsewhere.
type partial struct {
	target
	opts   CreateOptions
	format *format
	folder *folder
	base   string
	f      *os.File
}

var (
	_ seekable   = (*partial)(nil)
	_ appendable = (*partial)(nil)
)

const (
	partialSuffix  = ".partial"
	manifestSuffix = ".manifest.json"
)

// openPartial opens or makes the .partial and locks it. Its content is whatever was there.
func openPartial(t target, f *format, opts CreateOptions) (*partial, error) {
	folder, err := opts.Roots.openFolder(filepath.Dir(t.resolved))
	if err != nil {
		return nil, withOp(t.op, "open its folder", err)
	}
	p := &partial{target: t, opts: opts, format: f, folder: folder, base: filepath.Base(t.resolved)}
	if err := p.lock(); err != nil {
		return nil, errors.Join(err, folder.Close())
	}
	return p, nil
}

// withOp is err as one of the operation op, of which what has failed.
func withOp(op, what string, err error) error {
	var e *transfer.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("%s: %w", op, err)
	}
	return &transfer.Error{Op: op, Code: e.Code, Hint: e.Hint, Err: fmt.Errorf("%s: %w", what, e.Err)}
}

func (p *partial) fail(what string, err error) error {
	return withOp(p.op, what, fileError("", err))
}

// lock opens the .partial and locks it. The job that had it may have published or removed it
// between the two; then what is locked is not the .partial any more, and lock starts over.
func (p *partial) lock() error {
	for {
		f, err := p.folder.open(p.base+partialSuffix, os.O_RDWR|os.O_CREATE)
		if err != nil {
			return p.fail("open "+partialSuffix, err)
		}
		current, err := p.tryLock(f)
		if current && err == nil {
			p.f = f
			return nil
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
}

// tryLock locks f; current is false if f is not the .partial any more.
func (p *partial) tryLock(f *os.File) (current bool, err error) {
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return false, p.fail("lock "+partialSuffix, err)
		}
		// CodeConflict, which is retried, and not CodeExists: the other may be an earlier attempt
		// of this job that has lost its lease and will end soon. If it is another job, a retry
		// finds the published target in the end.
		return false, &transfer.Error{
			Op: p.op, Code: transfer.CodeConflict, Hint: "wait for it, or choose another path",
			Err: errors.New("another job is writing this file"),
		}
	}
	info, err := f.Stat()
	if err != nil {
		return false, p.fail("look at "+partialSuffix, err)
	}
	if !info.Mode().IsRegular() {
		return false, invalid(p.op, "remove it", "its %s is no regular file", partialSuffix)
	}
	there, err := p.folder.Lstat(p.base + partialSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, p.fail("look at "+partialSuffix, err)
	}
	return os.SameFile(info, there), nil
}

func (p *partial) name() string { return p.resolved + partialSuffix }

func (p *partial) file() *os.File { return p.f }

func (p *partial) stored() *os.File { return p.f }

// Write implements io.Writer.
func (p *partial) Write(b []byte) (int, error) { return p.f.Write(b) }

// during calls write; a file takes what it is given at once, or fails.
func (p *partial) during(_ context.Context, write func() error) error { return write() }

func (p *partial) stop() {}

// resume keeps what an earlier attempt left, if that has the image's size; otherwise it empties the
// file, and fresh is true.
func (p *partial) resume(size int64) (fresh bool, err error) {
	info, err := p.f.Stat()
	if err != nil {
		return false, p.fail("look at "+partialSuffix, err)
	}
	if p.opts.Resume && info.Size() == size {
		return false, nil
	}
	return true, p.reset(size)
}

// reset makes the file one of size zero bytes that take no room, or removes it.
func (p *partial) reset(size int64) error {
	if err := p.f.Truncate(0); err != nil {
		return errors.Join(p.fail("empty "+partialSuffix, err), p.remove())
	}
	if err := p.f.Truncate(size); err != nil {
		return errors.Join(p.fail(fmt.Sprintf("make %s as large as the image", partialSuffix), err), p.remove())
	}
	return nil
}

// publish makes the file durable, writes its manifest and gives it its name.
func (p *partial) publish(ctx context.Context, m *transfer.Manifest, owned ownership) error {
	if err := p.f.Sync(); err != nil {
		return p.fail("write "+partialSuffix+" to disk", err)
	}
	if published, err := p.published(ctx, m); published || err != nil {
		return err
	}
	if err := owned(ctx); err != nil {
		return err
	}
	if err := p.writeManifest(m); err != nil {
		return err
	}
	if err := p.rename(); err != nil {
		return err
	}
	if err := fsx.SyncOpenDir(p.folder.dir); err != nil {
		return p.fail("write its folder to disk", err)
	}
	return nil
}

// published reports whether an earlier attempt has published the target and was cut off right after
// that: then the target holds this image, and the .partial is removed. A target that holds anything
// else stays, and the error is CodeExists.
func (p *partial) published(ctx context.Context, m *transfer.Manifest) (bool, error) {
	if p.opts.Overwrite {
		return false, nil
	}
	f, err := p.folder.open(p.base, os.O_RDONLY)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil || !p.opts.Resume:
		if err == nil {
			err = f.Close()
		}
		return false, errors.Join(errExists(p.op), err)
	}
	err = errors.Join(verifyStored(ctx, p.op, f, p.format, m), f.Close())
	if transfer.CodeOf(err) == transfer.CodeMismatch {
		return false, errExists(p.op)
	}
	if err != nil {
		return false, err
	}
	return true, p.remove()
}

// writeManifest writes the manifest into the target's folder. One that exists stays; if it
// describes the same image, an earlier attempt was cut off right after it had written it.
func (p *partial) writeManifest(m *transfer.Manifest) error {
	err := fsx.WriteFileAt(p.folder.dir, p.base+manifestSuffix, 0o666, p.opts.Overwrite, func(w io.Writer) error { // as the image itself
		return verify.WriteManifest(w, m)
	})
	if errors.Is(err, fs.ErrExist) {
		return p.sameManifest(m)
	}
	if err != nil {
		return p.fail("write its manifest", err)
	}
	return nil
}

func (p *partial) sameManifest(m *transfer.Manifest) error {
	file, err := p.folder.open(p.base+manifestSuffix, os.O_RDONLY)
	if err != nil {
		return errManifestExists(p.op)
	}
	f := &File{f: file, path: p.resolved + manifestSuffix}
	if err = f.inspect(p.op); err != nil {
		return errors.Join(errManifestExists(p.op), f.Close())
	}
	there, err := f.manifest()
	if err = errors.Join(err, f.Close()); err != nil || there.Size != m.Size || there.ChunkSize != m.ChunkSize || there.ChunksRoot != m.ChunksRoot {
		return errManifestExists(p.op)
	}
	return nil
}

// rename gives the file its name. A target that has appeared meanwhile stays, unless it may be
// replaced.
func (p *partial) rename() error {
	err := fsx.Rename(p.folder.dir, p.base+partialSuffix, p.base, p.opts.Overwrite)
	if errors.Is(err, fs.ErrExist) {
		return errExists(p.op)
	}
	if err != nil {
		return p.fail("rename "+partialSuffix, err)
	}
	return nil
}

func (p *partial) remove() error {
	if err := p.folder.Remove(p.base + partialSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return p.fail("remove "+partialSuffix, err)
	}
	return nil
}

// Close releases the lock.
func (p *partial) Close() error {
	if err := errors.Join(p.f.Close(), p.folder.Close()); err != nil {
		return p.fail("close", err)
	}
	return nil
}
