package image

import (
	"bufio"
	"bytes"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/transferd/transferd/internal/transfer"
)

// format is a way to store an image. What is stored may be on any medium, and may be written to any
// place.
type format struct {
	name    string          // in messages
	id      transfer.Format // as jobs name it; empty: jobs write no image of this format
	magics  []magic         // content with one of them is of the format
	endings []string        // of the names of such files; a file that is named so is of the format, or damaged

	// convert tells how to make a raw image of one that is not read here. It is refused: written to
	// a drive as it is, it would make one that no machine can use.
	convert string
	// open reads an image by offset from a medium that can be read so; nil: the image can only be
	// read in order.
	open   func(m transfer.RandomAccess) (transfer.Source, error)
	decode func(r *bufio.Reader) (decoder, error) // reads an image in order from any medium
	encode func(w io.Writer) (encoder, error)     // stores an image; nil: none of this format is written
}

// magic is a mark in a file by which its format is known.
type magic struct {
	off   int
	bytes string
	mask  string // bits of bytes that count; empty: all
}

// headSize is how many bytes at the start of an image tell its format: at least as many as the
// table's magics cover.
const headSize = 16

const withQemu = "convert it first: qemu-img convert -O raw IN OUT"

// formats are all formats, the first that fits counts.
var formats = []format{
	{name: "qcow2", magics: []magic{{bytes: "QFI\xfb"}}, convert: withQemu},
	{name: "VMDK", magics: []magic{{bytes: "KDMV"}}, convert: withQemu},
	{name: "VHDX", magics: []magic{{bytes: "vhdxfile"}}, convert: withQemu},
	{name: "xz", magics: []magic{{bytes: "\xfd7zXZ\x00"}}, convert: "unpack it first: xz -d"},
	{name: "bzip2", magics: []magic{{off: 4, bytes: "1AY&SY"}}, convert: "unpack it first: bzip2 -d"},
	{
		name: "gzip", id: transfer.FormatGzip, endings: []string{".gz"},
		magics: []magic{{bytes: "\x1f\x8b"}}, // RFC 1952, 2.3.1
		decode: decodeGzip, encode: encodeGzip,
	},
	{
		name: "Zstandard", id: transfer.FormatZstd, endings: []string{".zst"},
		// A data frame or, since an archive may begin with one, a skippable frame (RFC 8878, 3.1.1
		// and 3.1.2).
		magics: []magic{{bytes: "\x28\xb5\x2f\xfd"}, {bytes: "\x50\x2a\x4d\x18", mask: "\xf0\xff\xff\xff"}},
		decode: decodeZstd, encode: encodeZstd,
	},
	{
		name: "raw", id: transfer.FormatRaw, magics: []magic{{}}, // anything
		open: openRaw, decode: decodeRaw, encode: encodeRaw,
	},
}

// openRaw returns the medium, which is a raw image of itself.
func openRaw(m transfer.RandomAccess) (transfer.Source, error) { return m, nil }

// formatNamed is the format that a job asks for; nil: there is none of that name.
func formatNamed(id transfer.Format) *format {
	i := slices.IndexFunc(formats, func(f format) bool { return id != "" && f.id == id })
	if i < 0 {
		return nil
	}
	return &formats[i]
}

// formatOf finds the format of an image by its first bytes, headSize or all. A format that is not
// read here is CodeInvalid, and so is a file whose name says another format than its content: it is
// damaged, or an error page that somebody saved.
func formatOf(op, fileName string, head []byte) (*format, error) {
	f := &formats[slices.IndexFunc(formats, func(f format) bool { return f.begins(head) })]
	if f.convert != "" {
		return nil, invalid(op, f.convert, "this is a %s file, no raw image", f.name)
	}
	ending := strings.ToLower(path.Ext(fileName))
	named := slices.IndexFunc(formats, func(f format) bool { return slices.Contains(f.endings, ending) })
	if named >= 0 && f != &formats[named] {
		return nil, invalid(op, "it may be damaged; if it is a raw image, rename it", "its name ends in %s, and its content is no such stream", ending)
	}
	return f, nil
}

// begins reports whether the format is that of a file with these first bytes.
func (f *format) begins(head []byte) bool {
	return slices.ContainsFunc(f.magics, func(m magic) bool { return m.in(head) })
}

func (m magic) in(head []byte) bool {
	if len(head) < m.off+len(m.bytes) {
		return false
	}
	if m.mask == "" {
		return bytes.Equal(head[m.off:m.off+len(m.bytes)], []byte(m.bytes))
	}
	for i := range len(m.bytes) {
		if head[m.off+i]&m.mask[i] != m.bytes[i] {
			return false
		}
	}
	return true
}
