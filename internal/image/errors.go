package image

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/transfer"
)

// fileErrors has the code and hint of each kind of failure; the first row that fits counts.
var fileErrors = []struct {
	cause []error
	code  transfer.Code
	hint  string
}{
	{
		[]error{fs.ErrNotExist, unix.ENOTDIR, unix.ENXIO, unix.ENODEV}, transfer.CodeNotFound,
		"check the path: it is one on the host that runs the job",
	},
	{[]error{unix.EROFS}, transfer.CodeForbidden, "the file system is mounted read-only"},
	{[]error{fs.ErrPermission}, transfer.CodeForbidden, "the user that runs the job has no permission for this"},
	{[]error{unix.ENOSPC}, transfer.CodeNoSpace, "make room on the disk, then retry the job"},
	{[]error{unix.EDQUOT}, transfer.CodeNoSpace, "make room within the disk quota, then retry the job"},
	{[]error{unix.EFBIG}, transfer.CodeNoSpace, "the file system, or a limit of the process, does not allow a file of this size"},
	{[]error{unix.EISDIR, unix.ELOOP, unix.ENAMETOOLONG, fs.ErrInvalid}, transfer.CodeInvalid, "give the path of a file"},
	{[]error{unix.EBUSY, unix.ETXTBSY}, transfer.CodeInvalid, "it is in use: unmount it, or stop what uses it"},
	{[]error{unix.ENOLCK}, transfer.CodeInvalid, "mount its file system with locks (NFS: local_lock=flock)"},
	{[]error{unix.EIO}, transfer.CodeFailed, "the disk reports an error: look into the kernel's log (dmesg)"},
}

// fileError makes err, which came from a file system, one for users. It drops the path in err,
// which may be a name that only this process can use; op says what the file is.
func fileError(op string, err error) error {
	var told *transfer.Error
	if errors.As(err, &told) {
		return &transfer.Error{Op: op, Code: told.Code, Hint: told.Hint, Err: err}
	}
	e := &transfer.Error{Op: op, Code: transfer.CodeFailed, Err: bare(err)}
	for _, known := range fileErrors {
		for _, cause := range known.cause {
			if errors.Is(err, cause) {
				e.Code, e.Hint = known.code, known.hint
				return e
			}
		}
	}
	return e
}

// fileErrorAt is fileError for a failure that has a place in the image.
func fileErrorAt(op string, off int64, err error) error {
	var e *transfer.Error
	if errors.As(fileError(op, err), &e) {
		e.Offset = &off
	}
	return e
}

// errLost is the error of a file that could not be synced: how much of it is on the disk is
// unknown.
func errLost(op string, err error) error {
	var e *transfer.Error
	if errors.As(fileError(op, err), &e) {
		e.Err = fmt.Errorf("%w: %w", transfer.ErrLost, e.Err)
		e.Hint = cmp.Or(e.Hint, "look into the kernel's log (dmesg)") + "; the next attempt starts over"
	}
	return e
}

// bare is err without the operation and path that the standard library wraps around it.
func bare(err error) error {
	var path *fs.PathError
	var link *os.LinkError
	var call *os.SyscallError
	switch {
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &link):
		return link.Err
	case errors.As(err, &call):
		return call.Err
	}
	return err
}

func invalid(op, hint, format string, args ...any) error {
	e := transfer.Errorf(transfer.CodeInvalid, hint, format, args...)
	e.Op = op
	return e
}

func errEmpty(op string) error {
	return invalid(op, "check what made it; an image has at least one byte", "the image is empty")
}
