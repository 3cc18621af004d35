package api

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
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
			if strings.Contains(key, "password") {
				value = "…"
			}
			return nil, invalid("use one line of text in UTF-8", "%q cannot be sent as a value of %q", value, key)
		}
		fmt.Fprintf(&b, "%s %s\n", key, value)
	}
	return b.Bytes(), nil
}

// add sets a value, unless it is empty.
func (o Object) add(key, value string) {
	if value != "" {
		o[key] = value
	}
}

// words is the values of a key that has several.
func (o Object) words(key string) []string { return strings.Fields(o[key]) }

// firstWords reads a list of values: the first word of each line. The parent API's servers/list has
// more words after the UUID.
func firstWords(text []byte) []string {
	return eachLine(text, func(words []string) string { return words[0] })
}

// lastWords reads a list of values: the last word of each line, such as `vlan UUID`.
func lastWords(text []byte) []string {
	return eachLine(text, func(words []string) string { return words[len(words)-1] })
}

// eachLine reads one value from the words of each line that has any.
func eachLine(text []byte, value func(words []string) string) []string {
	var values []string
	for line := range bytes.Lines(text) {
		if words := strings.Fields(string(line)); len(words) > 0 {
			values = append(values, value(words))
		}
	}
	return values
}
