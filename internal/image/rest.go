package image

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/transferd/transferd/internal/transfer"
)

// mostIgnored is how many bytes after a gzip stream are ignored, with a warning: what a signature or
// other metadata takes. More may be the rest of a file of several members, one of which is damaged
// where it begins.
const mostIgnored = 1 << 20

// ignored is what follows a compressed image and is no part of it, in bytes.
type ignored struct {
	zeros int64 // padding right after the image
	other int64 // all that follows them
}

// take reads what follows a gzip stream, and does with it what gzip does: zeros, which pad it to
// whole blocks, count for nothing, and anything else is ignored with a warning.
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

// errRest is the error of a compressed stream after whose end, at off of the file, something else
// follows.
func errRest(what string, off int64) error {
	return transfer.Errorf(transfer.CodeInvalid,
		fmt.Sprintf("if the image is complete without that, cut it off: head -c %d IN >OUT, and give OUT", off),
		"the %s stream is sound and ends at byte %d of the file, and what follows is none", what, off)
}
