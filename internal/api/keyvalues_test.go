package api

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

func TestDecodeReadsObjects(t *testing.T) {
	for text, want := range map[string][]Object{
		"":                            nil,
		"\n\r\n \n":                   nil,
		"name a b  c\nsize 10\n":      {{"name": "a b  c", "size": "10"}},
		"a 1\r\nb 2\r\n\r\n\r\na 3":   {{"a": "1", "b": "2"}, {"a": "3"}},
		"\n\na 1\n\n\n\nb 2\n\n":      {{"a": "1"}, {"b": "2"}},
		"empty\nnone \n":              {{"empty": "", "none": ""}},
		"a 1\na 2\n":                  {{"a": "2"}},
		"a   spaced  \n":              {{"a": "spaced"}},
		"name \xff\xfe\x00 binary\n":  {{"name": "\xff\xfe\x00 binary"}},
		"nic:0:dhcp auto\nuse a, b c": {{"nic:0:dhcp": "auto", "use": "a, b c"}},
	} {
		if got := Decode([]byte(text)); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestEncodeRefusesWhatTheFormatCannotCarry(t *testing.T) {
	got, err := Encode(Object{"size": "10", "name": "two words"})
	if err != nil || string(got) != "name two words\nsize 10\n" {
		t.Errorf("got %q, %v; want two lines in order", got, err)
	}
	for _, o := range []Object{{"": "x"}, {"a b": "x"}, {"a\t": "x"}, {"a\u00a0": "x"}, {"a": "x\ny z"}, {"a": "x\r"}} {
		_, err := Encode(o)
		expect(t, err, transfer.CodeInvalid)
	}
}

func FuzzText(f *testing.F) {
	for _, seed := range []string{
		"name x\nsize 1\n\nname y\n", "a\r\n\r\nb \x00", "\u0085k v", "", "\n\n\n", "none", "a  b  \n \n c d",
		"a 1\na 2", "\xff\xfe x",
		"drive " + uuid + "\nname golden image\nsize 10737418240\nimaging 42%\nclaimed a:b c:d\nuse tag1,tag2\n",
	} {
		f.Add([]byte(seed), "key", "some value")
		f.Add([]byte(seed), "nic:0:dhcp", " padded\t")
		f.Add([]byte(seed), "a b", "two\nlines")
	}
	f.Fuzz(func(t *testing.T, text []byte, key, value string) {
		objects := Decode(text)
		for _, o := range append(objects, Object{key: value}) {
			b, err := Encode(o)
			if err != nil {
				continue
			}
			again := Decode(b)
			for k, v := range o {
				o[k] = strings.TrimSpace(v)
			}
			if len(again) != 1 || !maps.Equal(again[0], o) {
				t.Errorf("%q, encoded as %q: got %q, want the same object", o, b, again)
			}
		}
	})
}

// TestListsReadTheFirstOrLastWordOfEachLine: lists of VLANs and addresses have their kind before
// each, and the parent API has more values after the UUID.
func TestListsReadTheFirstOrLastWordOfEachLine(t *testing.T) {
	text := []byte("a\r\n\n b extra\nc")
	if got, want := firstWords(text), []string{"a", "b", "c"}; !slices.Equal(got, want) {
		t.Errorf("first words: got %q, want %q", got, want)
	}
	if got, want := lastWords(text), []string{"a", "extra", "c"}; !slices.Equal(got, want) {
		t.Errorf("last words: got %q, want %q", got, want)
	}
}
