package image

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/transferd/transferd/internal/transfer"
)

// maxTrailing is how many bytes after a gzip stream are ignored, with a warning: enough for a
// signature or other metadata. More bytes may be further members, the first of them with a damaged
// header.
const maxTrailing = 1 << 20

// trailing counts the bytes after a compressed image.
type trailing struct {
	zeros int64 // padding directly after the image
	other int64 // everything after the padding
}

// read reads the bytes after a gzip stream and treats them as gzip does: zeros are padding, and
// other bytes are ignored with a warning.
func (t *trailing) read(in *input) error {
	end := in.offset()
	buf := make([]byte, 32<<10)
	for {
		n, err := in.Read(buf)
		p := buf[:n]
		if t.other == 0 {
			p = bytes.TrimLeft(p, "\x00")
			t.zeros += int64(n - len(p))
		}
		switch t.other += int64(len(p)); {
		case t.other > maxTrailing:
			return errTrailing("gzip", end)
		case errors.Is(err, io.EOF):
			return io.EOF
		case err != nil:
			return err
		}
	}
}

func (t *trailing) warnings() []string {
	if t.other == 0 {
		return nil
	}
	n := transfer.Count(t.zeros+t.other, "byte")
	return []string{n + " after the gzip stream ignored: neither gzip nor padding"}
}

// errTrailing is the error of a compressed stream that ends at off of the file, with other bytes
// after it.
func errTrailing(what string, off int64) error {
	return transfer.Errorf(transfer.CodeInvalid,
		fmt.Sprintf("if the image is complete without them, cut them off: head -c %d IN >OUT, and give OUT", off),
		"the %s stream is sound and ends at byte %d of the file, but other bytes follow", what, off)
}
