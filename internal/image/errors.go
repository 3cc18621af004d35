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

// fileErrors has the code and hint for each kind of failure; the first matching row counts.
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
	{[]error{unix.ENOSPC}, transfer.CodeNoSpace, "free space on the disk, then retry the job"},
	{[]error{unix.EDQUOT}, transfer.CodeNoSpace, "free space within the disk quota, then retry the job"},
	{
		[]error{unix.EFBIG}, transfer.CodeNoSpace,
		"the file system, or a limit of the process, does not allow a file of this size",
	},
	{
		[]error{unix.EISDIR, unix.ELOOP, unix.ENAMETOOLONG, fs.ErrInvalid}, transfer.CodeInvalid,
		"give the path of a file",
	},
	{[]error{unix.EBUSY, unix.ETXTBSY}, transfer.CodeInvalid, "it is in use: unmount it, or stop what uses it"},
	{[]error{unix.ENOLCK}, transfer.CodeInvalid, "mount its file system with locks (NFS: local_lock=flock)"},
	{[]error{unix.EIO}, transfer.CodeFailed, "the disk reports an error: see the kernel's log (dmesg)"},
}

// fileError turns an error of a file system into an error for users. It drops the path in err,
// which may be valid in this process only; op names the file.
func fileError(op string, err error) error {
	var known *transfer.Error
	if errors.As(err, &known) {
		return &transfer.Error{Op: op, Code: known.Code, Hint: known.Hint, Err: err}
	}
	e := &transfer.Error{Op: op, Code: transfer.CodeFailed, Err: withoutPath(err)}
	for _, row := range fileErrors {
		for _, cause := range row.cause {
			if errors.Is(err, cause) {
				e.Code, e.Hint = row.code, row.hint
				return e
			}
		}
	}
	return e
}

// fileErrorAt is fileError for a failure at an offset of the image.
func fileErrorAt(op string, off int64, err error) error {
	var e *transfer.Error
	if errors.As(fileError(op, err), &e) {
		e.Offset = &off
	}
	return e
}

// errLost is the error of a file that could not be synced. It is unknown how much of the file is on
// the disk.
func errLost(op string, err error) error {
	var e *transfer.Error
	if errors.As(fileError(op, err), &e) {
		e.Err = fmt.Errorf("%w: %w", transfer.ErrLost, e.Err)
		e.Hint = cmp.Or(e.Hint, "see the kernel's log (dmesg)") + "; the next attempt starts over"
	}
	return e
}

// withoutPath is err without the operation and path that the standard library wraps around it.
func withoutPath(err error) error {
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
