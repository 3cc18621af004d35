package api

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/transferd/transferd/internal/transfer"
)

// Object is one key/value object of the API (manual 4). Of two equal keys the last one wins.
type Object map[string]string

// Decode reads the objects of a response. Each line is a pair: the key before the first space, and
// the value after it. Blank lines, one or more, separate objects. Lines may end in LF or CRLF.
func Decode(text []byte) []Object {
	var objects []Object
	var o Object
	for line := range bytes.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
		if key == "" {
			o = nil
			continue
		}
		if o == nil {
			o = make(Object)
			objects = append(objects, o)
		}
		o[key] = strings.TrimSpace(value)
	}
	return objects
}

// Encode writes one object, sorted by key. It is CodeInvalid if the format cannot represent the
// object: an empty key, a blank in a key, a line break, or text that is not UTF-8.
func Encode(o Object) ([]byte, error) {
	var b bytes.Buffer
	for _, key := range slices.Sorted(maps.Keys(o)) {
		value := o[key]
		if key == "" || strings.ContainsFunc(key, unicode.IsSpace) ||
			strings.ContainsAny(value, "\r\n") || !utf8.ValidString(value) {
			return nil, transfer.Errorf(transfer.CodeInvalid,
				"use one line of text in UTF-8", "%q cannot be sent as a value of %q", value, key)
		}
		fmt.Fprintf(&b, "%s %s\n", key, value)
	}
	return b.Bytes(), nil
}

// words is the values of a key that has several.
func (o Object) words(key string) []string { return strings.Fields(o[key]) }

// decodeList reads a list of UUIDs: the first word of each line.
func decodeList(text []byte) []string {
	var ids []string
	for line := range bytes.Lines(text) {
		if words := strings.Fields(string(line)); len(words) > 0 {
			ids = append(ids, words[0])
		}
	}
	return ids
}
