package config

import (
	"errors"
	"strings"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// TestErrorsNameLineAndKey: errors name the line and the key, hint what to write, and name no type
// of Go.
func TestErrorsNameLineAndKey(t *testing.T) {
	const endpoint = "endpoints:\n  zrh:\n    url: https://h\n    user: x\n    password_env: P\n"
	for text, want := range map[string]struct{ message, hint string }{
		endpoint + "    max_in_flight: many\n": {
			"line 6: max_in_flight: the value has the wrong form",
			"write a whole number",
		},
		endpoint + "    max_in_flight: 99999999999999999999999\n": {
			"line 6: max_in_flight: the number is too large",
			"write a smaller number",
		},
		endpoint + "    password: s3cret\n": {
			`line 6: unknown key "password"`,
			"use password_env, password_file or password_command",
		},
		endpoint + "    username: x\n": {
			`line 6: unknown key "username"`,
			"use user",
		},
		endpoint + "    passwordfile: x\n": {
			`line 6: unknown key "passwordfile"`,
			"use password_file",
		},
		endpoint + "    xyzzy: x\n": {
			`line 6: unknown key "xyzzy"`,
			"the keys are redis, ",
		},
		"http:\n  token: s3cret\n": {
			`line 2: unknown key "token"`,
			"use token_env, token_file or token_command",
		},
		"roots: /var\n": {
			"line 1: roots: the value has the wrong form",
			"write a list",
		},
		"endpoints:\n  - zrh: https://h\n": {
			"line 2: endpoints: the value has the wrong form",
			"write its keys below it",
		},
		"endpoints:\n  zrh: https://h\n": {
			"line 2: zrh: the value has the wrong form",
			"write its keys below it",
		},
		"redis: [a]\n": {
			"line 1: redis: the value has the wrong form",
			"write text",
		},
		"endpoints:\n\tzrh:\n": {
			"line 2: there is a tab",
			"indent with spaces",
		},
	} {
		_, err := parse([]byte(text))
		var e *transfer.Error
		if !errors.As(err, &e) || err.Error() != want.message || !strings.HasPrefix(e.Hint, want.hint) {
			t.Errorf("%q: got %v (%+v), want %v", text, err, e, want)
		}
	}
}
