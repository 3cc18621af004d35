package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/fsx"
	"github.com/transferd/transferd/internal/transfer"
)

// jobAttribute is the extended attribute of a .partial with the ID of its job. On a file system
// without extended attributes (vfat, NFS before 4.2, some of SMB and FUSE) the name of the .partial
// contains the ID instead. The .partial gets its name after the attribute, so a crash leaves none
// without it. The published file keeps the attribute, so the job never replaces it, whatever its
// record says.
const jobAttribute = "user.transferd.job"

// openOrMake opens and locks the job's .partial. With keep it opens that of an earlier attempt, if
// there is one; otherwise it makes a new one.
func (p *partial) openOrMake(keep bool) error {
	plain, named := p.base+partialSuffix, p.base+"."+p.opts.Job+partialSuffix
	for {
		f, err := p.open(plain, p.hasJobAttribute, keep)
		if f == nil && err == nil {
			f, err = p.open(named, func(*os.File) bool { return true }, keep)
		}
		if f == nil && err == nil {
			f, err = p.make(plain, named)
		}
		if f != nil || err != nil {
			p.f = f
			return err
		}
	}
}

// open opens and locks a .partial that the job made; it returns nil if there is none. Without keep
// it removes the .partial.
func (p *partial) open(entry string, isOwn func(*os.File) bool, keep bool) (f *os.File, err error) {
	p.entry = entry
	current, err := p.folder.Lstat(entry)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, p.stepError("stat "+entry, err)
	case !current.Mode().IsRegular():
		return nil, p.errNotOurs("it is no regular file")
	}
	p.f, err = p.folder.open(entry, os.O_RDWR)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, p.stepError("open "+entry, err)
	}
	if err = p.lock(p.f); err == nil {
		keep, err = p.usable(isOwn, keep)
	}
	if err != nil || !keep {
		return nil, errors.Join(err, p.f.Close())
	}
	return p.f, nil
}

// usable reports whether the attempt can continue with the locked .partial. If it cannot, and the
// .partial is the job's, usable removes it.
func (p *partial) usable(isOwn func(*os.File) bool, keep bool) (bool, error) {
	// Another attempt may have published or removed it before p locked it.
	if current, err := p.isCurrent(); !current || err != nil {
		return false, err
	}
	if !isOwn(p.f) {
		return false, p.errNotOurs(p.maker())
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(p.f.Fd()), &st); err != nil {
		return false, p.stepError("stat "+p.entry, err)
	}
	if st.Nlink > 1 {
		if published, err := p.isPublished(); !published || err != nil {
			return false, errors.Join(p.errNotOurs("it has another name, a hard link, too"), err)
		}
		keep = false
	}
	if keep {
		return true, nil
	}
	return false, p.remove()
}

// isPublished reports whether the .partial is also the target: a crash has ended a publication
// between its two steps.
func (p *partial) isPublished() (bool, error) {
	info, err := p.f.Stat()
	if err != nil {
		return false, p.stepError("stat "+p.entry, err)
	}
	target, err := p.folder.Lstat(p.base)
	return err == nil && os.SameFile(info, target), nil
}

// hasJobAttribute reports whether f has the attribute of this job.
func (p *partial) hasJobAttribute(f *os.File) bool {
	job, ok := jobOf(f)
	return ok && job == p.opts.Job
}

// jobOf is the ID of the job that made f; ok is false if f has no jobAttribute.
func jobOf(f *os.File) (job string, ok bool) {
	value := make([]byte, 256)
	n, err := unix.Fgetxattr(int(f.Fd()), jobAttribute, value)
	return string(value[:max(n, 0)]), err == nil
}

// isOfJob reports whether the file at path has the attribute of a job. publish compares a target
// that its own job has published, whatever the job's record says.
func isOfJob(path, job string) bool {
	value := make([]byte, 256)
	n, err := unix.Lgetxattr(path, jobAttribute, value)
	return err == nil && string(value[:n]) == job
}

// maker describes the job that made a .partial of another job.
func (p *partial) maker() string {
	if job, ok := jobOf(p.f); ok {
		return fmt.Sprintf("job %q made it", job)
	}
	return "this job did not make it"
}

// make makes a .partial with the name plain and the job's attribute or, without attributes, with
// the name named. It returns nil if another process was faster. If the file system lacks a feature,
// make fails, before anything is transferred.
func (p *partial) make(plain, named string) (*os.File, error) {
	f, temporary, err := fsx.CreateTemporary(p.folder.dir, 0o666) // the user's umask decides, as with cp
	if err != nil {
		return nil, p.stepError("create "+partialSuffix, err)
	}
	p.entry = plain
	if err = p.prepare(f, named); err == nil {
		err = p.sys.Rename(p.folder.dir, temporary, p.entry, false)
	}
	if err == nil {
		if err = p.sys.SyncDir(p.folder.dir); err == nil {
			return f, nil
		}
		temporary = p.entry
	}
	failed := errors.Join(f.Close(), p.folder.Remove(temporary))
	if errors.Is(err, fs.ErrExist) {
		return nil, failed
	}
	return nil, errors.Join(p.stepError("create "+p.entry, err), failed)
}

// prepare locks a new .partial, sets its attribute, and syncs it once, to test whether that works.
func (p *partial) prepare(f *os.File, named string) error {
	if err := p.lock(f); err != nil {
		return err
	}
	err := p.sys.Fsetxattr(int(f.Fd()), jobAttribute, []byte(p.opts.Job), 0)
	switch {
	case fsx.Unsupported(err), errors.Is(err, unix.EPERM):
		p.entry = named
	case err != nil:
		return fmt.Errorf("set attribute %s: %w", jobAttribute, err)
	}
	return p.sys.Sync(f)
}

func (p *partial) lock(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		// CodeConflict, which is retried, and not CodeExists: the holder of the lock may be an
		// earlier attempt of this job that has lost its lease and will end soon. If it is another
		// job, a retry finds the published target in the end.
		return &transfer.Error{
			Op: p.op, Code: transfer.CodeConflict, Hint: "wait for it, or choose another path",
			Err: errors.New("another job is writing this file"),
		}
	}
	if err != nil {
		return p.stepError("lock "+p.entry, err)
	}
	return nil
}

// errNotOurs refuses a .partial that is not the job's own.
func (p *partial) errNotOurs(why string) error {
	return &transfer.Error{
		Op: p.op, Code: transfer.CodeExists,
		Hint: "retry the job that made it, remove it, or choose another path",
		Err:  fmt.Errorf("its %s exists already: %s", partialSuffix, why),
	}
}
