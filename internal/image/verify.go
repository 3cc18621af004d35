package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/transferd/transferd/internal/fsx"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/verify"
)

// verifyOnDisk is verifyStored or verifyDisk for the file f, read from its disk. via says how it
// was read.
func verifyOnDisk(
	ctx context.Context, op string, f *os.File, sys *fsx.System, format *format, m *transfer.Manifest,
) (via transfer.ReadVia, err error) {
	d := newDiskReader(f, sys)
	if format.disk == nil {
		err = verifyStored(ctx, op, d.reader(op), format, m)
	} else if info, statErr := f.Stat(); statErr != nil {
		err = fileError(op, statErr)
	} else {
		err = verifyDisk(ctx, op, onDisk{d, info.Size()}, format, m)
	}
	return d.via(), errors.Join(err, d.Close())
}

// verifyStored reads a stored image from its beginning, decodes it, and compares its chunks with a
// manifest. A difference, or a stream that cannot be decoded, is CodeMismatch.
func verifyStored(ctx context.Context, op string, read readFunc, format *format, m *transfer.Manifest) error {
	image, err := decode(ctx, op, newInput(read, nil), format)
	if err != nil {
		return mismatch(op, 0, err)
	}
	defer image.Close()
	image.size.Store(m.Size)
	buf := make([]byte, m.ChunkSize)
	for i, count := int64(0), transfer.ChunkCount(m.Size, m.ChunkSize); i < count; i++ {
		c := transfer.ChunkAt(i, m.Size, m.ChunkSize)
		n, err := image.next(ctx, buf[:c.Len])
		if err != nil && !errors.Is(err, io.EOF) {
			return readError(op, c.Off, err)
		}
		want, ok := m.Chunks[i]
		if !ok {
			want = verify.ZeroDigest(c.Len)
		}
		if got := verify.Sum(buf[:n]); got != want {
			return mismatch(op, c.Off,
				fmt.Errorf("the digest of chunk %d is %s in the file, and %s of what was written", i, got, want))
		}
	}
	n, err := image.next(ctx, make([]byte, 1))
	switch {
	case n > 0:
		return mismatch(op, m.Size, errors.New("more is stored than was written"))
	case !errors.Is(err, io.EOF):
		return readError(op, m.Size, err)
	}
	return nil
}

// readError is CodeMismatch for a damaged image, and err if the image could not be read.
func readError(op string, off int64, err error) error {
	switch transfer.CodeOf(err) {
	case transfer.CodeInvalid, transfer.CodeSourceChanged:
		return mismatch(op, off, err)
	}
	return err
}

func mismatch(op string, off int64, err error) error {
	return &transfer.Error{
		Op: op, Code: transfer.CodeMismatch, Offset: &off, Err: err,
		Hint: "the stored data differs from the image: check the disk and the memory of this host, then retry the job",
	}
}
