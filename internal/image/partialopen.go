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

// jobMark is the extended attribute of a .partial that holds the ID of its job. On a file system
// without extended attributes (vfat, NFS before 4.2, some of SMB and FUSE) the ID is in the name of
// the .partial instead. The .partial gets its name after its mark, so a crash leaves none unmarked.
// The published file keeps the mark, so that the job never replaces it, whatever its record says.
const jobMark = "user.transferd.job"

// claim opens the job's .partial and locks it. With keep it is that of an earlier attempt, if there
// is one; otherwise it is a new one.
func (p *partial) claim(keep bool) error {
	marked, named := p.base+partialSuffix, p.base+"."+p.opts.Job+partialSuffix
	for {
		f, err := p.open(marked, p.isMarked, keep)
		if f == nil && err == nil {
			f, err = p.open(named, func(*os.File) bool { return true }, keep)
		}
		if f == nil && err == nil {
			f, err = p.make(marked, named)
		}
		if f != nil || err != nil {
			p.f = f
			return err
		}
	}
}

// open opens a .partial that the job made, and locks it; nil if there is none. Without keep it is
// removed.
func (p *partial) open(entry string, ours func(*os.File) bool, keep bool) (f *os.File, err error) {
	p.entry = entry
	there, err := p.folder.Lstat(entry)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, p.fail("look at "+entry, err)
	case !there.Mode().IsRegular():
		return nil, p.errForeign("it is no regular file")
	}
	p.f, err = p.folder.open(entry, os.O_RDWR)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, p.fail("open "+entry, err)
	}
	if err = p.lock(p.f); err == nil {
		keep, err = p.usable(ours, keep)
	}
	if err != nil || !keep {
		return nil, errors.Join(err, p.f.Close())
	}
	return p.f, nil
}

// usable reports whether the attempt can continue with the locked .partial. If not, and it is the
// job's, usable removes it.
func (p *partial) usable(ours func(*os.File) bool, keep bool) (bool, error) {
	// The job that had it may have published or removed it before it was locked.
	if current, err := p.isOurs(); !current || err != nil {
		return false, err
	}
	if !ours(p.f) {
		return false, p.errForeign(p.maker())
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(p.f.Fd()), &st); err != nil {
		return false, p.fail("look at "+p.entry, err)
	}
	if st.Nlink > 1 {
		if published, err := p.isPublished(); !published || err != nil {
			return false, errors.Join(p.errForeign("it has another name, a hard link, too"), err)
		}
		keep = false
	}
	if keep {
		return true, nil
	}
	return false, p.remove()
}

// isPublished reports whether the .partial is the target, too: a crash ended a publication between
// its two steps.
func (p *partial) isPublished() (bool, error) {
	info, err := p.f.Stat()
	if err != nil {
		return false, p.fail("look at "+p.entry, err)
	}
	there, err := p.folder.Lstat(p.base)
	return err == nil && os.SameFile(info, there), nil
}

// isMarked reports whether f has the mark of the job.
func (p *partial) isMarked(f *os.File) bool {
	job, ok := markOf(f)
	return ok && job == p.opts.Job
}

// markOf is the ID of the job that made f; ok is false if it has no mark.
func markOf(f *os.File) (job string, ok bool) {
	value := make([]byte, 256)
	n, err := unix.Fgetxattr(int(f.Fd()), jobMark, value)
	return string(value[:max(n, 0)]), err == nil
}

// maker names the job that made a .partial of another job.
func (p *partial) maker() string {
	if job, ok := markOf(p.f); ok {
		return fmt.Sprintf("job %q made it", job)
	}
	return "this job did not make it"
}

// make makes a .partial that is marked by an attribute or else by its name; nil if another process
// was faster. It fails if the file system lacks a feature, before anything is transferred.
func (p *partial) make(marked, named string) (*os.File, error) {
	f, temporary, err := fsx.Temporary(p.folder.dir, 0o666) // the user's umask decides, as with cp
	if err != nil {
		return nil, p.fail("create "+partialSuffix, err)
	}
	p.entry = marked
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
	return nil, errors.Join(p.fail("create "+p.entry, err), failed)
}

// prepare locks and marks a new .partial, and syncs it once, to find out whether that works.
func (p *partial) prepare(f *os.File, named string) error {
	if err := p.lock(f); err != nil {
		return err
	}
	err := p.sys.Fsetxattr(int(f.Fd()), jobMark, []byte(p.opts.Job), 0)
	switch {
	case fsx.Unsupported(err), errors.Is(err, unix.EPERM):
		p.entry = named
	case err != nil:
		return fmt.Errorf("mark: %w", err)
	}
	return p.sys.Sync(f)
}

func (p *partial) lock(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		// CodeConflict, which is retried, and not CodeExists: the other may be an earlier attempt
		// of this job that has lost its lease and will end soon. If it is another job, a retry
		// finds the published target in the end.
		return &transfer.Error{
			Op: p.op, Code: transfer.CodeConflict, Hint: "wait for it, or choose another path",
			Err: errors.New("another job is writing this file"),
		}
	}
	if err != nil {
		return p.fail("lock "+p.entry, err)
	}
	return nil
}

// errForeign refuses a .partial that is not the job's own.
func (p *partial) errForeign(why string) error {
	return &transfer.Error{
		Op: p.op, Code: transfer.CodeExists,
		Hint: "retry the job that made it, remove it, or choose another path",
		Err:  fmt.Errorf("its %s is there already: %s", partialSuffix, why),
	}
}
