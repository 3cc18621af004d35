package image

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// sampleSize is how many bytes at the start of an image, and at its end, are searched for a
// format's marks: at least as many as the marks in the table cover, and a sector.
const sampleSize = 512

// sample is the part of the content that is searched for marks: the first and the last bytes,
// sampleSize each, or all there are. The last ones are empty where they are unknown.
type sample struct{ head, tail []byte }

// mark is a signature: bytes that identify a format.
type mark struct {
	off   int // from the first byte; negative: from the end
	bytes string
	mask  string // bits of bytes that count; empty: all
	// text says that blanks and a byte order mark before it, and upper case, do not count.
	text bool
	is   func(head []byte) bool // instead of bytes
}

// at makes a mark at off for each of the texts.
func at(off int, texts ...string) (marks []mark) {
	for _, t := range texts {
		marks = append(marks, mark{off: off, bytes: t})
	}
	return marks
}

// text makes a mark of a text, written in lower case, for each of the texts.
func text(texts ...string) (marks []mark) {
	for _, t := range texts {
		marks = append(marks, mark{bytes: t, text: true})
	}
	return marks
}

// fits reports whether the format is that of the content.
func (f *format) fits(s sample) bool {
	return slices.ContainsFunc(f.marks, func(m mark) bool { return m.in(s) })
}

func (m mark) in(s sample) bool {
	switch {
	case m.is != nil:
		return m.is(s.head)
	case m.text:
		return bytes.HasPrefix(bytes.ToLower(trimBlanks(s.head)), []byte(m.bytes))
	case m.off < 0:
		return m.matches(s.tail, len(s.tail)+m.off)
	}
	return m.matches(s.head, m.off)
}

func (m mark) matches(p []byte, off int) bool {
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

// isText reports whether these first bytes of a file are those of a text, and of no disk: no byte
// of them is a control character but blanks and escape.
func isText(head []byte) bool {
	return len(head) > 0 && !slices.ContainsFunc(head, func(c byte) bool {
		return c < ' ' && !strings.ContainsRune("\t\r\n\f\x1b", rune(c))
	})
}

// isCompress reports whether a file begins as one of compress(1): codes of at most 16 bits, in
// blocks, the first code 9 bits long and a literal byte. That tests 25 bits, so of raw images whose
// first bytes are random, one in 32 million is taken for such a file.
func isCompress(head []byte) bool {
	return len(head) > 4 && bytes.HasPrefix(head, []byte("\x1f\x9d\x90")) && head[4]&1 == 0
}

// isJSON reports whether these are the first bytes of a JSON text whose value is an object, or a
// list of objects or texts, as the servers of programs send them.
func isJSON(head []byte) bool {
	text := trimBlanks(head)
	if !isText(head) || !bytes.HasPrefix(text, []byte("{")) && !bytes.HasPrefix(text, []byte("[")) {
		return false
	}
	inside := trimBlanks(text[1:])
	return bytes.HasPrefix(inside, []byte(`"`)) || text[0] == '[' && bytes.HasPrefix(inside, []byte("{"))
}

// The places in the header of a tar archive's first file (POSIX.1-2017, pax, "ustar Interchange
// Format"), and in a boot sector.
const (
	tarHeader    = 512
	tarName      = 100 // bytes from 0
	tarSum       = 148
	tarSumLen    = 8
	tarMagic     = 257
	bootSigPlace = 510
)

// isTar reports whether a file begins with the header of a tar archive: its checksum is right, as
// also that of archives older than the magic is, or it has the magic and is not the boot sector of
// a disk, whose code may have anything at that place. The end of a header is zeros, so no archive
// has the signature of a boot sector there.
func isTar(head []byte) bool {
	if len(head) < tarHeader {
		return false
	}
	magic := bytes.HasPrefix(head[tarMagic:], []byte("ustar"))
	return tarSumRight(head[:tarHeader]) || magic && !bytes.Equal(head[bootSigPlace:tarHeader], []byte("\x55\xaa"))
}

func tarSumRight(header []byte) bool {
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

// isOVA reports whether a file begins as a tar archive whose first file is an OVF descriptor, as
// the OVF specification demands (DSP0243, 7).
func isOVA(head []byte) bool {
	if !isTar(head) {
		return false
	}
	name, _, _ := bytes.Cut(head[:tarName], []byte{0})
	return bytes.HasSuffix(bytes.ToLower(name), []byte(".ovf"))
}
