package cli

import (
	"strings"
	"testing"
)

func TestOneLineEscapesLineBreaks(t *testing.T) {
	if got, want := OneLine("a\nb\r „ö“\x1b"), `a\nb\r „ö“\x1b`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestControlsAreEscaped: printable text of all languages and line breaks stay as they are.
func TestControlsAreEscaped(t *testing.T) {
	for in, want := range map[string]string{
		"drive  „Größe“ 日本\n": "drive  „Größe“ 日本\n",
		"\x1b[31mred\r\x07":   `\x1b[31mred\r\a`,
		"\u009b1m\u202e":      `\u009b1m\u202e`,
		"a'b\\":               `a'b\`,
		"\xff":                "\ufffd",
		"":                    "",
	} {
		var out strings.Builder
		if n, err := EscapeControls(&out).Write([]byte(in)); n != len(in) || err != nil || out.String() != want {
			t.Errorf("Write(%q) = %d, %v and wrote %q, want %d, nil and %q", in, n, err, out.String(), len(in), want)
		}
	}
}
