package cli

import (
	"strings"
	"testing"
)

// TestOneLineQuotesLineBreaks: line breaks are quoted, too.
func TestOneLineQuotesLineBreaks(t *testing.T) {
	if got, want := OneLine("a\nb\r „ö“\x1b"), `a\nb\r „ö“\x1b`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestVisible shows what a terminal would obey, and leaves text as it is.
func TestVisible(t *testing.T) {
	for in, want := range map[string]string{
		"drive  „Größe“ 日本\n": "drive  „Größe“ 日本\n", "\x1b[31mred\r\x07": `\x1b[31mred\r\a`, "\u009b1m\u202e": `\u009b1m\u202e`, "a'b\\": `a'b\`, "\xff": "\ufffd", "": "",
	} {
		var out strings.Builder
		if n, err := Visible(&out).Write([]byte(in)); n != len(in) || err != nil || out.String() != want {
			t.Errorf("%q became %q, %d, %v", in, out.String(), n, err)
		}
	}
}
