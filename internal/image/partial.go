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

// partial is a file that is not complete yet: PATH.partial. It belongs to this job alone
// (partialopen.go), and is locked against other attempts of the job, until publish gives it its
// name. All operations are relative to the open folder, so no change to the path leads to another
// place.
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

// openPartial opens and locks the job's .partial. Without keep, or if there is none, it makes one.
func openPartial(t target, f *format, opts CreateOptions, keep bool) (*partial, error) {
	folder, err := opts.Roots.openFolder(filepath.Dir(t.resolved))
	if err != nil {
		return nil, withOp(t.op, "open its folder", err)
	}
	p := &partial{target: t, opts: opts, format: f, folder: folder, base: filepath.Base(t.resolved)}
	p.writer = newLeasedWriter(p, opts.Lease)
	if err := p.openOrMake(keep); err != nil {
		return nil, errors.Join(err, folder.Close())
	}
	return p, nil
}

// withOp is err as an error of the operation op; what names the step that failed.
func withOp(op, what string, err error) error {
	var e *transfer.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("%s: %w", op, err)
	}
	return &transfer.Error{Op: op, Code: e.Code, Hint: e.Hint, Err: fmt.Errorf("%s: %w", what, e.Err)}
}

// stepError is the error of a failed step.
func (p *partial) stepError(what string, err error) error {
	return withOp(p.op, what, fileError("", err))
}

func (p *partial) name() string { return filepath.Join(filepath.Dir(p.resolved), p.entry) }

func (p *partial) file() *os.File { return p.f }

func (p *partial) stored() *os.File { return p.f }

// Write implements io.Writer.
func (p *partial) Write(b []byte) (int, error) { return p.writer.Write(b) }

// writeUntil calls write. A write to a file does not block, but the wait for the lease may; the end
// of ctx ends that wait.
func (p *partial) writeUntil(ctx context.Context, write func() error) error {
	defer context.AfterFunc(ctx, panics.Func(p.stop, func(error) {}))()
	return write()
}

func (p *partial) stop() { p.writer.stop() }

// resume keeps the data of an earlier attempt if the file has the image's size. Otherwise it
// empties the file, and fresh is true.
func (p *partial) resume(size int64) (fresh bool, err error) {
	info, err := p.f.Stat()
	if err != nil {
		return false, p.stepError("stat "+p.entry, err)
	}
	if p.opts.Resume && info.Size() == size {
		return false, nil
	}
	if err := p.opts.Lease.Check(); err != nil {
		return true, err
	}
	for _, n := range []int64{0, size} { // to a hole of the image's size
		if err := p.f.Truncate(n); err != nil {
			err = p.stepError(fmt.Sprintf("extend %s to the size of the image", p.entry), err)
			return true, errors.Join(err, p.remove())
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

// published reports whether an earlier attempt has published the target and ended directly after
// that. In this case the target holds this image, and published removes the .partial. If the target
// holds other data, it stays, and the error is CodeExists. That is so even with Overwrite, if the
// job's attribute shows that the job has published the target.
func (p *partial) published(ctx context.Context, m *transfer.Manifest, owned ownership) (bool, error) {
	if fsx.IsPlaceholder(p.folder.dir, p.base) {
		return false, nil
	}
	f, err := p.folder.open(p.base, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	byThisJob := err == nil && p.hasJobAttribute(f)
	if err != nil || !byThisJob && (p.opts.Overwrite || !p.opts.Resume) {
		if err == nil {
			err = f.Close()
		}
		if p.opts.Overwrite {
			return false, nil // it may be replaced
		}
		return false, errors.Join(errExists(p.op), err)
	}
	_, err = verifyOnDisk(ctx, p.op, f, p.sys, p.format, m)
	err = errors.Join(err, f.Close())
	if transfer.CodeOf(err) == transfer.CodeMismatch {
		if !byThisJob {
			return false, errExists(p.op)
		}
		return false, errors.Join(p.errFinished(), p.remove()) // no later attempt can publish it
	}
	if err != nil {
		return false, err
	}
	if err := owned(ctx); err != nil {
		return false, err
	}
	return true, p.remove()
}

// errFinished refuses to replace a target that the job has published, and that was changed since.
func (p *partial) errFinished() error {
	return &transfer.Error{
		Op: p.op, Code: transfer.CodeExists,
		Hint: "it stays as it is: start a new job to transfer the image again",
		Err:  fmt.Errorf("%w, and it has been changed since", transfer.ErrFinished),
	}
}

// writeManifest writes the manifest into the target's folder. An existing manifest stays. If it
// describes the same image, it is that of an earlier attempt.
func (p *partial) writeManifest(m *transfer.Manifest) error {
	write := func(w io.Writer) error { return verify.WriteManifest(w, m) }
	err := p.sys.WriteFileAt(p.folder.dir, p.base+manifestSuffix, 0o666, p.opts.Overwrite, write)
	if errors.Is(err, fs.ErrExist) {
		return p.sameManifest(m)
	}
	if err != nil {
		return p.stepError("write its manifest", err)
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
	existing, err := f.manifest()
	err = errors.Join(err, f.Close())
	if err != nil || existing.Size != m.Size || existing.ChunkSize != m.ChunkSize ||
		existing.ChunksRoot != m.ChunksRoot {
		return errManifestExists(p.op)
	}
	return nil
}

// rename gives the file its name. Without Overwrite it does not replace a target that has appeared
// meanwhile.
func (p *partial) rename() error {
	if _, err := p.folder.Lstat(p.entry); err == nil {
		if current, err := p.isCurrent(); !current || err != nil {
			return errors.Join(p.errNotOurs("another file has replaced it"), err)
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
		return p.stepError("rename "+p.entry, err)
	}
	return nil
}

// remove removes the .partial, unless another file has replaced it.
func (p *partial) remove() error {
	if err := p.opts.Lease.Check(); err != nil {
		return err // another worker may own it now; a later attempt starts over
	}
	if current, err := p.isCurrent(); !current || err != nil {
		return err
	}
	if err := p.folder.Remove(p.entry); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return p.stepError("remove "+p.entry, err)
	}
	return nil
}

// isCurrent reports whether the .partial is still the file that p has open.
func (p *partial) isCurrent() (bool, error) {
	info, err := p.f.Stat()
	if err != nil {
		return false, p.stepError("stat "+p.entry, err)
	}
	current, err := p.folder.Lstat(p.entry)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, p.stepError("stat "+p.entry, err)
	}
	return os.SameFile(info, current), nil
}

// Close releases the lock.
func (p *partial) Close() error {
	if err := p.f.Close(); err != nil {
		return errors.Join(errLost(p.op+": close "+p.entry, err), p.folder.Close())
	}
	return p.folder.Close()
}
