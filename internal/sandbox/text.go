package sandbox

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// pair is one line of the API's text form: a key, one space, a value.
type pair struct{ key, value string }

// object is the pairs between two blank lines of a response. Their order has no meaning.
type object []pair

func (o *object) add(key, value string) { *o = append(*o, pair{key, value}) }

// get is the value of key, and whether the key is there at all.
func (o object) get(key string) (string, bool) {
	for _, p := range o {
		if p.key == key {
			return p.value, true
		}
	}
	return "", false
}

// set replaces the value of key or adds the pair.
func (o *object) set(key, value string) {
	for i := range *o {
		if (*o)[i].key == key {
			(*o)[i].value = value
			return
		}
	}
	o.add(key, value)
}

// remove drops key.
func (o *object) remove(key string) {
	for i := range *o {
		if (*o)[i].key == key {
			*o = append((*o)[:i:i], (*o)[i+1:]...)
			return
		}
	}
}

// blanks are trimmed from lines and values of input; the carriage return is that of CRLF.
const blanks = " \t\r"

// decode decodes one object: the first space of a line separates key and value, a line without one
// is a key with an empty value, blank lines are skipped, and the last of two equal keys counts.
// Text that is not UTF-8 is decoded as Latin-1, in which Python's HTTP client encodes strings.
func decode(text []byte) object {
	lines := string(text)
	if !utf8.ValidString(lines) {
		lines = fromLatin1(text)
	}
	var o object
	at := make(map[string]int)
	for line := range strings.SplitSeq(lines, "\n") {
		line = strings.Trim(line, blanks)
		if line == "" {
			continue
		}
		key, value, _ := strings.Cut(line, " ")
		value = strings.Trim(value, blanks)
		key = strings.Trim(key, blanks)
		if i, ok := at[key]; ok {
			o[i].value = value
			continue
		}
		at[key] = len(o)
		o.add(key, value)
	}
	return o
}

// encode encodes objects, with one blank line between them and LF line ends.
func encode(objects ...object) []byte {
	var b bytes.Buffer
	for i, o := range objects {
		if i > 0 {
			b.WriteByte('\n')
		}
		for _, p := range o {
			b.WriteString(p.key)
			b.WriteByte(' ')
			b.WriteString(p.value)
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

// printable reports whether s has no control characters or line breaks, except tabs.
func printable(s string) bool {
	for _, r := range s {
		if r < ' ' && r != '\t' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 {
			return false
		}
	}
	return true
}

func fromLatin1(text []byte) string {
	var b strings.Builder
	b.Grow(len(text) + len(text)/8)
	for _, c := range text {
		b.WriteRune(rune(c))
	}
	return b.String()
}
