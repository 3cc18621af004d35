package program

import (
	"strings"
	"testing"
)

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
