package cli

import (
	"io"
	"strconv"
	"strings"
	"unicode"
)

// EscapeControls returns a writer to w, which is a terminal or a person's eyes. It replaces each
// character that a terminal executes instead of printing, except line breaks, by its Go escape:
// \x1b, \u202e. Names and messages come from others and may contain such characters.
func EscapeControls(w io.Writer) io.Writer { return escaper{w} }

type escaper struct{ w io.Writer }

// Write implements io.Writer.
func (e escaper) Write(p []byte) (int, error) {
	var b strings.Builder
	for _, r := range string(p) {
		if r == '\n' {
			b.WriteRune(r)
		} else {
			b.WriteString(escaped(r))
		}
	}
	if _, err := io.WriteString(e.w, b.String()); err != nil {
		return 0, err
	}
	return len(p), nil
}

// OneLine returns s with controls escaped as EscapeControls does, and line breaks too: the name of
// a file may contain them, and the row of a table must not.
func OneLine(s string) string {
	var b strings.Builder
	for _, r := range s {
		b.WriteString(escaped(r))
	}
	return b.String()
}

// escaped returns r if it is printable, else its Go escape.
func escaped(r rune) string {
	if unicode.IsPrint(r) {
		return string(r)
	}
	return strings.Trim(strconv.QuoteRune(r), "'")
}
