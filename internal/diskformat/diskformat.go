// Package diskformat reads the formats of virtual disks: which of a disk's bytes are stored, and
// where in a file.
//
// Each format is a package of its own below this one. It opens a File and returns a Disk. Nothing
// here writes, and nothing opens a file by itself: an image that consists of several files gets the
// others from an Opener.
package diskformat

import (
	"context"
	"iter"

	"github.com/transferd/transferd/internal/transfer"
)

// File is what a disk is stored in: a file, a block device, or a resource read by ranges. Many
// goroutines may read it at once.
type File interface {
	// Size is the number of stored bytes.
	Size() int64
	// ReadAt fills p with the bytes at off. It does not retain p. Bytes beyond the end are an
	// error.
	ReadAt(ctx context.Context, p []byte, off int64) error
}

// Holds reports whether the n bytes at off, both as an image says, are all in the file.
func Holds(f File, off, n int64) bool {
	return off >= 0 && n >= 0 && off <= f.Size() && n <= f.Size()-off
}

// Disk is the content of a virtual disk, by offset. Many goroutines may read it at once. The memory
// that it holds has a bound that does not depend on what the file says.
type Disk interface {
	// Size is the size of the disk in bytes.
	Size() int64
	// ReadAt fills p with the bytes at off, which are all below Size. It does not retain p.
	ReadAt(ctx context.Context, p []byte, off int64) error
	// Extents yields the ranges that may hold data, ascending and without overlap; all others are
	// zeros. It yields an error at most once, last. It may be called again.
	Extents(ctx context.Context) iter.Seq2[transfer.Extent, error]
}

// Warner is a Disk that reports what users should know about its image although it is read.
type Warner interface {
	// Warnings has one sentence for each.
	Warnings() []string
}

// Opener opens the disk in another file that an image names, such as a backing file or an extent.
// name is as in the image, not checked. format is what the image says about that file: Raw if its
// bytes are the disk, whatever they look like; otherwise the content decides. An Opener returns an
// error with the name for each file that it does not allow. The files stay open until the caller of
// the format's Open closes them.
type Opener func(ctx context.Context, name, format string) (Disk, error)

// Raw is the format of a file whose bytes are the disk.
const Raw = "raw"

const hintDamaged = "the image is damaged or incomplete: get it again"

// Damaged is the error, with CodeInvalid, for an image that contradicts its format. The caller of
// the format adds the operation, with the name of the file.
func Damaged(format string, args ...any) error {
	return Refused(hintDamaged, format, args...)
}

// Refused is the error, with CodeInvalid, for an image that is not read here; hint says what to do,
// such as the command that converts the file IN to OUT.
func Refused(hint, format string, args ...any) error {
	return transfer.Errorf(transfer.CodeInvalid, hint, format, args...)
}
