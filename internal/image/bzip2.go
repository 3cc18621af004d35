package image

import (
	"bytes"
	"compress/bzip2"
	"errors"
	"io"
)

// decodeBzip2 uses the standard library, which decodes as fast as dsnet/compress does.
func decodeBzip2(in *input) (decoder, error) {
	r := &bzip2Reader{in: in}
	r.streams = bzip2.NewReader(r)
	return decoder{Reader: &bzip2Decoder{r}, release: func() {}}, nil
}

// bzip2Reader feeds the library byte by byte, so that the library reads nothing beyond the two bytes
// that show whether another stream follows.
type bzip2Reader struct {
	in      *input
	last    [2]byte   // the last bytes read
	streams io.Reader // all streams of the file
}

func (r *bzip2Reader) ReadByte() (byte, error) {
	c, err := r.in.ReadByte()
	if err == nil {
		r.last = [2]byte{r.last[1], c}
	}
	return c, err
}

// Read implements io.Reader, which the library demands and does not use.
func (r *bzip2Reader) Read(p []byte) (int, error) { return r.in.Read(p) }

// bzip2Decoder is the content of all streams. Zeros after them are padding.
type bzip2Decoder struct{ in *bzip2Reader }

// errNoStream is the library's error for bytes after a stream that do not begin another one.
const errNoStream = bzip2.StructuralError("bad magic value in continuation file")

func (d *bzip2Decoder) Read(p []byte) (int, error) {
	n, err := d.in.streams.Read(p)
	if errors.Is(err, errNoStream) {
		err = d.in.padding()
	}
	return n, err
}

// padding reads what follows the last stream: io.EOF if it is zeros.
func (r *bzip2Reader) padding() error {
	const ahead = 2
	end := r.in.offset() - ahead
	for p := r.last[:]; ; {
		if len(bytes.TrimLeft(p, "\x00")) > 0 {
			return errTrailing("bzip2", end)
		}
		if _, err := r.in.Peek(1); err != nil {
			return err
		}
		p, _ = r.in.Peek(r.in.Buffered()) // no error: the bytes are in the buffer
		_, _ = r.in.Discard(len(p))
	}
}

var (
	_ io.ByteReader = (*bzip2Reader)(nil)
	_ io.Reader     = (*bzip2Decoder)(nil)
)
