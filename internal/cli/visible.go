package cli

import (
	"io"
	"strconv"
	"strings"
	"unicode"
)

// OneLine is s as Visible writes it, and with line breaks quoted: the name of a file may have some.
func OneLine(s string) string {
	var b strings.Builder
	for _, r := range s {
		b.WriteString(shown(r))
	}
	return b.String()
}

// shown is r, or how Go writes it in quotes if a terminal would not print it.
func shown(r rune) string {
	if unicode.IsPrint(r) {
		return string(r)
	}
	return strings.Trim(strconv.QuoteRune(r), "'")
}

// Visible writes to w for people to read: what a terminal would obey, and not show, is written as Go writes it in quotes.
// Names and messages come from others.
func Visible(w io.Writer) io.Writer { return visible{w} }

type visible struct{ w io.Writer }

func (v visible) Write(p []byte) (int, error) {
	var b strings.Builder
	for _, r := range string(p) {
		if r == '\n' {
			b.WriteRune(r)
		} else {
			b.WriteString(shown(r))
		}
	}
	if _, err := io.WriteString(v.w, b.String()); err != nil {
		return 0, err
	}
	return len(p), nil
}
