package sandbox

import (
	"slices"
	"testing"
	"unicode/utf8"
)

func TestDecodeReadsWhatClientsSend(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       object
	}{
		{"one", "name a b: c\n", object{{"name", "a b: c"}}},
		{"no last newline", "name x\nsize 1", object{{"name", "x"}, {"size", "1"}}},
		{"CRLF, blanks, blank lines", "\r\n  name \t x \r\n\r\nsize  1\r\n", object{{"name", "x"}, {"size", "1"}}},
		{
			"keys with colons", "ide:0:0:media disk\nerrors:cpu too few",
			object{{"ide:0:0:media", "disk"}, {"errors:cpu", "too few"}},
		},
		{"empty values", "tags \nname\n", object{{"tags", ""}, {"name", ""}}},
		{"the last of two counts", "name a\nsize 1\nname b\n", object{{"name", "b"}, {"size", "1"}}},
		{"Latin-1", "name caf\xe9\n", object{{"name", "café"}}},
		{"UTF-8", "name café\n", object{{"name", "café"}}},
		{"escaped newlines stay", `install_notes a\nb\c`, object{{"install_notes", `a\nb\c`}}},
		{"nothing", "", nil},
	} {
		if got := decode([]byte(c.text)); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestEncodeSeparatesObjectsByABlankLine(t *testing.T) {
	got := string(encode(object{{"a", "1"}, {"empty", ""}}, object{{"b", "2 3"}}))
	if want := "a 1\nempty \n\nb 2 3\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzText(f *testing.F) {
	for _, seed := range []string{
		"name x\nsize 1\n", "a\r\n b  c \r\n", "a 1\na 2", "\xff\xfe x", " \t", "k \u00a0v\u0085",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		o := decode(text)
		written := encode(o)
		if !utf8.Valid(written) {
			t.Fatalf("got %q, want UTF-8", written)
		}
		if again := decode(written); !slices.Equal(o, again) {
			t.Fatalf("got %q after encode and decode, want %q", again, o)
		}
	})
}
