package image

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/transferd/transferd/internal/transfer"
)

// mostIgnored is how many bytes after a gzip stream are ignored, with a warning: room for a
// signature or other metadata. More bytes may be further members, the first of them with a damaged
// header.
const mostIgnored = 1 << 20

// ignored counts the bytes after a compressed image that are no part of it.
type ignored struct {
	zeros int64 // padding right after the image
	other int64 // all that follows them
}

// take reads the bytes after a gzip stream and treats them as gzip does: zeros are padding, and
// anything else is ignored with a warning.
func (i *ignored) take(in *input) error {
	end := in.offset()
	buf := make([]byte, 32<<10)
	for {
		n, err := in.Read(buf)
		p := buf[:n]
		if i.other == 0 {
			p = bytes.TrimLeft(p, "\x00")
			i.zeros += int64(n - len(p))
		}
		switch i.other += int64(len(p)); {
		case i.other > mostIgnored:
			return errRest("gzip", end)
		case errors.Is(err, io.EOF):
			return io.EOF
		case err != nil:
			return err
		}
	}
}

func (i *ignored) notes() []string {
	if i.other == 0 {
		return nil
	}
	n := i.zeros + i.other
	return []string{fmt.Sprintf("%d bytes after the gzip stream are ignored: they are no gzip and no padding", n)}
}

// errRest is the error of a compressed stream that ends at off of the file and is followed by other
// bytes.
func errRest(what string, off int64) error {
	return transfer.Errorf(transfer.CodeInvalid,
		fmt.Sprintf("if the image is complete without that, cut it off: head -c %d IN >OUT, and give OUT", off),
		"the %s stream is sound and ends at byte %d of the file, and what follows is none", what, off)
}
