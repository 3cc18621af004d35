package image

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// sampleSize is how many bytes at the start of an image, and at its end, are searched for
// signatures: at least as many as the signatures in the table cover, and a sector.
const sampleSize = 512

// sample is the part of the content that is searched for signatures: the first and the last bytes,
// at most sampleSize each. The last ones are empty if they are unknown.
type sample struct{ head, tail []byte }

// signature identifies a format by its content.
type signature struct {
	off   int // from the first byte; negative: from the end
	bytes string
	mask  string // the bits of bytes to compare; empty: all
	// text ignores case, and blanks and a byte order mark before the bytes.
	text bool
	is   func(head []byte) bool // instead of bytes
}

// at is a list of signatures at off, one for each text.
func at(off int, texts ...string) (list []signature) {
	for _, t := range texts {
		list = append(list, signature{off: off, bytes: t})
	}
	return list
}

// text is a list of signatures with text set, one for each text, in lower case.
func text(texts ...string) (list []signature) {
	for _, t := range texts {
		list = append(list, signature{bytes: t, text: true})
	}
	return list
}

// matches reports whether the content has this format.
func (f *format) matches(s sample) bool {
	return slices.ContainsFunc(f.signatures, func(m signature) bool { return m.foundIn(s) })
}

func (m signature) foundIn(s sample) bool {
	switch {
	case m.is != nil:
		return m.is(s.head)
	case m.text:
		return bytes.HasPrefix(bytes.ToLower(trimBlanks(s.head)), []byte(m.bytes))
	case m.off < 0:
		return m.matchesAt(s.tail, len(s.tail)+m.off)
	}
	return m.matchesAt(s.head, m.off)
}

func (m signature) matchesAt(p []byte, off int) bool {
	if off < 0 || len(p) < off+len(m.bytes) {
		return false
	}
	for i, c := range []byte(m.bytes) {
		bits := byte(0xff)
		if m.mask != "" {
			bits = m.mask[i]
		}
		if (p[off+i]^c)&bits != 0 {
			return false
		}
	}
	return true
}

const byteOrderMark = "\xef\xbb\xbf"

func trimBlanks(p []byte) []byte {
	return bytes.TrimLeft(bytes.TrimPrefix(p, []byte(byteOrderMark)), " \t\r\n\f")
}

// isText reports whether the first bytes of a file are those of a text, not of a disk: they contain
// no control characters but blanks and escape.
func isText(head []byte) bool {
	return len(head) > 0 && !slices.ContainsFunc(head, func(c byte) bool {
		return c < ' ' && !strings.ContainsRune("\t\r\n\f\x1b", rune(c))
	})
}

// isCompress reports whether a file begins like one of compress(1): codes of at most 16 bits, in
// blocks, the first code 9 bits long and a literal byte. That compares 25 bits, so one in 32
// million raw images with random first bytes is taken for such a file.
func isCompress(head []byte) bool {
	return len(head) > 4 && bytes.HasPrefix(head, []byte("\x1f\x9d\x90")) && head[4]&1 == 0
}

// isJSON reports whether these are the first bytes of a JSON text whose value is an object, or a
// list of objects or strings, as servers of an API send them.
func isJSON(head []byte) bool {
	text := trimBlanks(head)
	if !isText(head) || !bytes.HasPrefix(text, []byte("{")) && !bytes.HasPrefix(text, []byte("[")) {
		return false
	}
	inside := trimBlanks(text[1:])
	return bytes.HasPrefix(inside, []byte(`"`)) || text[0] == '[' && bytes.HasPrefix(inside, []byte("{"))
}

// Offsets and lengths in the header of a tar archive's first file (POSIX.1-2017, pax, "ustar
// Interchange Format"), and in a boot sector.
const (
	tarHeader     = 512
	tarSum        = 148
	tarSumLen     = 8
	tarMagic      = 257
	bootSigOffset = 510
)

// isTar reports whether a file begins with the header of a tar archive. The checksum must be right,
// or the header must have the magic and be no boot sector of a disk. Archives older than the magic
// have the checksum only. The code in a boot sector may contain the magic by chance, but the last
// bytes of a tar header are zeros, where a boot sector has its signature.
func isTar(head []byte) bool {
	if len(head) < tarHeader {
		return false
	}
	magic := bytes.HasPrefix(head[tarMagic:], []byte("ustar"))
	return hasTarSum(head[:tarHeader]) || magic && !bytes.Equal(head[bootSigOffset:tarHeader], []byte("\x55\xaa"))
}

func hasTarSum(header []byte) bool {
	want, err := strconv.ParseInt(strings.Trim(string(header[tarSum:tarSum+tarSumLen]), " \x00"), 8, 64)
	if err != nil {
		return false
	}
	got := int64(tarSumLen * ' ') // the sum itself counts as blanks
	for i, c := range header {
		if i < tarSum || i >= tarSum+tarSumLen {
			got += int64(c)
		}
	}
	return got == want
}
