package transfer

import (
	"strings"
	"testing"
)

const (
	uuidA = "0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f"
	uuidB = "ffffffff-ffff-ffff-ffff-ffffffffffff"
)

// TestHoldsUserFindsUserInformation in URLs, even in those that do not parse.
func TestHoldsUserFindsUserInformation(t *testing.T) {
	for path, want := range map[string]bool{
		"https://user:secret@h/x": true, "http://user@h": true, "https://u:p@h?x": true, "https://h/a@b": false,
		"https://h?a@b": false, "https://h": false, "/a@b": false, "user:secret@h": false, "HTTPS://u:p@h/x": true,
		"ftp://u:p@h": true, "https://u:pa/ss@h/x": true,
	} {
		if got := (Ref{Path: path}).HoldsUser(); got != want {
			t.Errorf("%s: got %v, want %v", path, got, want)
		}
	}
}

// TestEndpointURLHasOnlyHostPortAndPath, and its errors repeat no secret.
func TestEndpointURLHasOnlyHostPortAndPath(t *testing.T) {
	for in, want := range map[string]string{
		"https://h": "https://h", "http://h:8080/": "http://h:8080", "https://h/api/1.0/": "https://h/api/1.0",
		"https://[::1]:443": "https://[::1]:443",
		"":                  "", "h": "", "ftp://h": "", "https://": "", "https:///x": "", "https://u:secret@h": "",
		"https://u@h":        "",
		"https://h?secret=1": "", "https://h/#secret": "", "https://h/?": "", "https://h:secret": "", "://secret": "",
	} {
		got, err := EndpointURL(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v; want %q", in, got, err, want)
		}
		if err != nil && (CodeOf(err) != CodeInvalid || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%q: got %v, want %s without the secret", in, err, CodeInvalid)
		}
	}
}

// TestEndpointNamesBeginWithALetterOrDigit, and have no other characters than dot, dash and
// underscore.
func TestEndpointNamesBeginWithALetterOrDigit(t *testing.T) {
	for name, want := range map[string]bool{
		"zrh": true, "0": true, "a.b-c_d": true, "": false, "-a": false, ".a": false, "_a": false, "a b": false,
		"a/b": false, "a\n": false, "ä": false, "a:b": false,
	} {
		if ValidEndpointName(name) != want {
			t.Errorf("%q: got %t, want %t", name, !want, want)
		}
	}
}
