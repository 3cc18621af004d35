package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/token"

	"github.com/transferd/transferd/internal/transfer"
)

// describe rewrites an error of the YAML library as one line that names the line and the key. The
// library's own text quotes the lines around the error, which may hold a password.
func describe(err error) error {
	var (
		e        yaml.Error
		unknown  *yaml.UnknownFieldError
		badType  *yaml.TypeError
		badNode  *yaml.UnexpectedNodeTypeError
		overflow *yaml.OverflowError
	)
	if !errors.As(err, &e) {
		return errors.New("not a YAML mapping")
	}
	t := e.GetToken()
	if t == nil || t.Position == nil {
		return errors.New(e.GetMessage())
	}
	line := fmt.Sprintf("line %d: ", t.Position.Line)
	switch {
	case errors.As(err, &unknown):
		return invalid(hintFor(t.Value), "%sunknown key %q", line, t.Value)
	case errors.As(err, &overflow):
		return invalid("write a smaller number", "%s%sthe number is too large", line, keyOf(t))
	case errors.As(err, &badType):
		return invalid(formOf(badType.DstType), "%s%sthe value has the wrong form", line, keyOf(t))
	case errors.As(err, &badNode):
		return invalid(nodeForms[badNode.Expected.YAMLName()], "%s%sthe value has the wrong form", line, keyOf(t))
	case strings.Contains(e.GetMessage(), "'\t'"):
		return invalid("indent with spaces", "%sthere is a tab", line)
	}
	return fmt.Errorf("%s%s", line, e.GetMessage())
}

// keyOf is the key, with a colon, whose value is or begins with t; empty if there is none.
func keyOf(t *token.Token) string {
	if t.Value == ":" { // t belongs to the value's first key; skip that key
		t = t.Prev
	}
	for t = t.Prev; t != nil; t = t.Prev {
		if t.Value == ":" && t.Prev != nil {
			return t.Prev.Value + ": "
		}
	}
	return ""
}

const (
	mappingForm = "write its keys below it, one on each line, indented by two spaces"
	listForm    = "write a list: [a, b]"
)

var nodeForms = map[string]string{"mapping": mappingForm, "sequence": listForm}

func formOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int:
		return "write a whole number"
	case reflect.Slice:
		return listForm
	case reflect.Map, reflect.Struct:
		return mappingForm
	}
	return "write text on one line, in quotes if it has characters other than letters and digits"
}

// instead has hints for unknown keys that users are likely to try.
var instead = map[string]string{ //nolint:gosec // names of keys
	"password": "use password_env, password_file or password_command: passwords do not stand in the config",
	"token":    "use token_env, token_file or token_command: secrets do not stand in the config",
	"username": "use user", "login": "use user", "email": "use user",
	"host": "use url: https://HOST", "address": "use url: https://HOST (of the daemon: listen)",
	"header":  "use header_env: {Header: VARIABLE}: secrets do not stand in the config",
	"headers": "use header_env: {Header: VARIABLE}: secrets do not stand in the config",
}

// hintFor is the hint for an unknown key.
func hintFor(key string) string {
	if hint, ok := instead[strings.ToLower(key)]; ok {
		return hint
	}
	known := keysOf(reflect.TypeFor[Config](), reflect.TypeFor[HTTP](), reflect.TypeFor[Endpoint](),
		reflect.TypeFor[URLCredential]())
	near := slices.DeleteFunc(slices.Clone(known), func(k string) bool { return !transfer.Resembles(k, key) })
	if len(near) > 0 {
		return "use " + strings.Join(near, " or ")
	}
	return "the keys are " + strings.Join(known, ", ")
}

// keysOf are the YAML keys of structures.
func keysOf(types ...reflect.Type) (keys []string) {
	for _, t := range types {
		for i := range t.NumField() {
			key, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
			keys = append(keys, key)
		}
	}
	return keys
}
