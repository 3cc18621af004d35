package api

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// FieldErrors say what is wrong with the values of a call: each key with its message, on one line
// (manual 5, 6.2). They are in the chain (errors.As) of the *transfer.Error of the call.
type FieldErrors map[string]string

var _ error = FieldErrors(nil)

// Error returns all messages in one sentence, sorted by key.
func (e FieldErrors) Error() string {
	texts := e.keys()
	for i, key := range texts {
		texts[i] += ": " + strings.TrimRight(e[key], ".")
	}
	return strings.Join(texts, "; ")
}

func (e FieldErrors) keys() []string { return slices.Sorted(maps.Keys(e)) }

const (
	errorPrefix = "errors:"
	// systemKey is the key of a message that concerns no key of the call.
	systemKey = "system"
)

// readErrors reads the body of an error. Its lines `errors:KEY message` may stand among the pairs
// that the call has sent, which are no part of the message. Without such lines, all of the body is
// the message, which is safe for a terminal.
func readErrors(body []byte) (message string, fields FieldErrors) {
	fields = make(FieldErrors)
	for _, o := range Decode(body) {
		for key, text := range o {
			if name, ok := strings.CutPrefix(key, errorPrefix); ok {
				fields[cmp.Or(singleLine([]byte(name)), systemKey)] = singleLine([]byte(text))
			}
		}
	}
	system, found := fields[systemKey]
	delete(fields, systemKey)
	switch {
	case len(fields) == 0 && !found:
		return singleLine(body), nil
	case len(fields) == 0:
		return system, nil
	case !found:
		return singleLine([]byte(fields.Error())), fields
	}
	return singleLine([]byte(system + " " + fields.Error())), fields
}
