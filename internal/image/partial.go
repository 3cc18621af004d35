package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/transferd/transferd/internal/fsx"
	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/verify"
)

// partial is a file on its way: PATH.partial, this job's alone (partialopen.go) and locked against another
// attempt of it, until publish gives it its name. Everything goes through the open folder, so that
// nothing done to the path leads elsewhere.
type partial struct {
	target
	opts   CreateOptions
	format *format
	folder *folder
	base   string
	entry  string // the partial's name in the folder
	f      *os.File
	writer *leasedWriter // of an image that is written in order
}

var (
	_ seekable   = (*partial)(nil)
	_ appendable = (*partial)(nil)
)

const (
	partialSuffix  = ".partial"
	manifestSuffix = ".manifest.json"
)

// openPartial opens the job's .partial, if it is to be kept, or makes it, and locks it.
func openPartial(t target, f *format, opts CreateOptions, keep bool) (*partial, error) {
	folder, err := opts.Roots.openFolder(filepath.Dir(t.resolved))
	if err != nil {
		return nil, withOp(t.op, "open its folder", err)
	}
	p := &partial{target: t, opts: opts, format: f, folder: folder, base: filepath.Base(t.resolved)}
	p.writer = newLeasedWriter(p, opts.Lease)
	if err := p.claim(keep); err != nil {
		return nil, errors.Join(err, folder.Close())
	}
	return p, nil
}

// withOp is err as an error of the operation op, whose step what has failed.
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

func (p *partial) name() string { return filepath.Join(filepath.Dir(p.resolved), p.entry) }

func (p *partial) file() *os.File { return p.f }

func (p *partial) stored() *os.File { return p.f }

// Write implements io.Writer.
func (p *partial) Write(b []byte) (int, error) { return p.writer.Write(b) }

// during calls write. A write to a file does not block, but waiting for the lease may: the end of
// ctx ends that.
func (p *partial) during(ctx context.Context, write func() error) error {
	defer context.AfterFunc(ctx, panics.Func(p.stop, func(error) {}))()
	return write()
}

func (p *partial) stop() { p.writer.stop() }

// resume keeps what an earlier attempt left, if that has the image's size; otherwise it empties the
// file, and fresh is true.
func (p *partial) resume(size int64) (fresh bool, err error) {
	info, err := p.f.Stat()
	if err != nil {
		return false, p.fail("look at "+p.entry, err)
	}
	if p.opts.Resume && info.Size() == size {
		return false, nil
	}
	if err := p.opts.Lease.Check(); err != nil {
		return true, err
	}
	for _, n := range []int64{0, size} { // zero bytes, which take no room
		if err := p.f.Truncate(n); err != nil {
			return true, errors.Join(p.fail(fmt.Sprintf("make %s as large as the image", p.entry), err), p.remove())
		}
	}
	return true, nil
}

// sync implements seekable and appendable.
func (p *partial) sync() error {
	if err := p.sys.Sync(p.f); err != nil {
		return errLost(p.op+": write "+p.entry+" to disk", err)
	}
	return nil
}

// publish makes the file durable, writes its manifest and gives it its name.
func (p *partial) publish(ctx context.Context, m *transfer.Manifest, owned ownership) error {
	if err := p.sync(); err != nil {
		return err
	}
	if published, err := p.published(ctx, m, owned); published || err != nil {
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
	if err := p.sys.SyncDir(p.folder.dir); err != nil {
		return errLost(p.op+": write its folder to disk", err)
	}
	return nil
}

// published reports whether an earlier attempt has published the target and was cut off right after
// that: then the target holds this image, and the .partial is removed. A target that holds anything
// else stays, and the error is CodeExists: with Overwrite, too, if the job's mark says that the target
// is what it published.
func (p *partial) published(ctx context.Context, m *transfer.Manifest, owned ownership) (bool, error) {
	if fsx.IsPlaceholder(p.folder.dir, p.base) {
		return false, nil
	}
	f, err := p.folder.open(p.base, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	ours := err == nil && p.isMarked(f)
	if err != nil || !ours && (p.opts.Overwrite || !p.opts.Resume) {
		if err == nil {
			err = f.Close()
		}
		if p.opts.Overwrite {
			return false, nil // whatever it is, it may be replaced
		}
		return false, errors.Join(errExists(p.op), err)
	}
	_, err = verifyOnDisk(ctx, p.op, f, p.sys, p.format, m)
	err = errors.Join(err, f.Close())
	if transfer.CodeOf(err) == transfer.CodeMismatch {
		if !ours {
			return false, errExists(p.op)
		}
		return false, errors.Join(p.errStays(), p.remove()) // no attempt can publish it
	}
	if err != nil {
		return false, err
	}
	if err := owned(ctx); err != nil {
		return false, err
	}
	return true, p.remove()
}

// errStays refuses to replace a target that the job published and that holds something else now.
func (p *partial) errStays() error {
	return &transfer.Error{
		Op: p.op, Code: transfer.CodeExists,
		Hint: "it stays as it is: start a new job to transfer the image again",
		Err:  fmt.Errorf("%w, and it has been changed since", transfer.ErrFinished),
	}
}

// writeManifest writes the manifest into the target's folder. One that exists stays; if it
// describes the same image, an earlier attempt was cut off right after it had written it.
func (p *partial) writeManifest(m *transfer.Manifest) error {
	write := func(w io.Writer) error { return verify.WriteManifest(w, m) }
	err := p.sys.WriteFileAt(p.folder.dir, p.base+manifestSuffix, 0o666, p.opts.Overwrite, write) // as the image itself
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
	err = errors.Join(err, f.Close())
	if err != nil || there.Size != m.Size || there.ChunkSize != m.ChunkSize || there.ChunksRoot != m.ChunksRoot {
		return errManifestExists(p.op)
	}
	return nil
}

// rename gives the file its name. A target that has appeared meanwhile stays, unless it may be
// replaced.
func (p *partial) rename() error {
	if _, err := p.folder.Lstat(p.entry); err == nil {
		if ours, err := p.isOurs(); !ours || err != nil {
			return errors.Join(p.errForeign("another file has taken its place"), err)
		}
	}
	if err := p.opts.Lease.Check(); err != nil {
		return err
	}
	err := p.sys.Rename(p.folder.dir, p.entry, p.base, p.opts.Overwrite)
	if errors.Is(err, fs.ErrExist) {
		return errExists(p.op)
	}
	if err != nil {
		return p.fail("rename "+p.entry, err)
	}
	return nil
}

// remove removes the .partial, unless another file has taken its place.
func (p *partial) remove() error {
	if err := p.opts.Lease.Check(); err != nil {
		return err // it may be another worker's by now; a later attempt begins it again
	}
	if ours, err := p.isOurs(); !ours || err != nil {
		return err
	}
	if err := p.folder.Remove(p.entry); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return p.fail("remove "+p.entry, err)
	}
	return nil
}

// isOurs reports whether the .partial is still the file that is written.
func (p *partial) isOurs() (bool, error) {
	info, err := p.f.Stat()
	if err != nil {
		return false, p.fail("look at "+p.entry, err)
	}
	there, err := p.folder.Lstat(p.entry)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, p.fail("look at "+p.entry, err)
	}
	return os.SameFile(info, there), nil
}

// Close releases the lock.
func (p *partial) Close() error {
	if err := p.f.Close(); err != nil {
		return errors.Join(errLost(p.op+": close "+p.entry, err), p.folder.Close())
	}
	return p.folder.Close()
}
