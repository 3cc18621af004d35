package config

import (
	"strings"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// TestURLCredentialsAreChecked when the config is read: each error names the entry, and none shows
// a secret.
func TestURLCredentialsAreChecked(t *testing.T) {
	const start = "url_credentials:\n  vendor: "
	for text, want := range map[string]string{
		"{hosts: [h.example.com, \"10.0.0.1:8443\", \"[::1]\", \"[::1]:8443\"], header_env: {A: T}}": "",
		"{header_env: {Authorization: T}}":                                        "hosts is missing",
		"{hosts: [h]}":                                                            "header_env is missing",
		"{hosts: [https://h], header_env: {A: T}}":                                `"https://h" is not a host`,
		"{hosts: [\"*.example.com\"], header_env: {A: T}}":                        "is not a host",
		"{hosts: [\"u@h\"], header_env: {A: T}}":                                  "is not a host",
		"{hosts: [h/path], header_env: {A: T}}":                                   "is not a host",
		"{hosts: [\"h:0\"], header_env: {A: T}}":                                  "is not a host",
		"{hosts: [\"\"], header_env: {A: T}}":                                     "is not a host",
		"{hosts: [h], header_env: {\"A B\": T}}":                                  "is not the name of a header",
		"{hosts: [h], header_env: {range: T}}":                                    "is set by transferd itself",
		"{hosts: [h], header_env: {A: Basic s3cret}}":                             "is not the name of an environment",
		"{hosts: [h], header_env: {A: T}}\n  b: {hosts: [H], header_env: {A: T}}": "both name the host h",
		"{hosts: [h], headers: {A: s3cret}}":                                      `unknown key "headers"`,
	} {
		_, err := parse([]byte(start + text + "\n"))
		if want == "" {
			if err != nil {
				t.Errorf("%s: got %v, want success", text, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) || transfer.CodeOf(err) != transfer.CodeInvalid {
			t.Errorf("%s: got %v, want %q and %s", text, err, want, transfer.CodeInvalid)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: got %v, want no secret in it", text, err)
		}
	}
}

// TestHeadersComeFromTheEnvironment: an unset variable is an error, and no error shows a value.
func TestHeadersComeFromTheEnvironment(t *testing.T) {
	t.Setenv("VENDOR_TOKEN", "Bearer s3cret")
	c := URLCredential{Hosts: []string{"h"}, HeaderEnv: map[string]string{"authorization": "VENDOR_TOKEN"}}
	if h, err := c.Header(); err != nil || h.Get("Authorization") != "Bearer s3cret" {
		t.Errorf("got %v, %v; want the variable's value", h, err)
	}
	for _, value := range []string{"", "s3cret\nX: y", "s3cret\x7f"} {
		t.Setenv("VENDOR_TOKEN", value)
		_, err := c.Header()
		if transfer.CodeOf(err) != transfer.CodeInvalid || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: got %v, want %s without the value", value, err, transfer.CodeInvalid)
		}
	}
}
