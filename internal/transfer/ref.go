package transfer

import (
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
)

// Ref is a parsed address, the source or the target of a job: a drive on a named endpoint, a file
// on the worker's host, a URL, or a standard stream. Exactly one of Endpoint and Path is set. With
// Endpoint set, an empty Drive means a new drive.
type Ref struct {
	Endpoint string `json:"endpoint,omitempty"`
	Drive    string `json:"drive,omitempty"`
	Path     string `json:"path,omitempty"`
}

// Std is the path of standard input or output. Only a job that runs in the caller's process can use
// it.
const Std = "-"

var (
	endpointName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)
	urlScheme    = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`) // RFC 3986, 3.1
)

// ValidEndpointName reports whether s may name an endpoint: letters, digits, dot, dash and
// underscore, with a letter or digit first.
func ValidEndpointName(s string) bool { return endpointName.MatchString(s) }

// EndpointURL parses an endpoint's URL: http(s)://HOST with an optional port and path, and nothing
// else. base has no slash at its end. Errors have CodeInvalid and do not repeat the URL, which may
// hold a password.
func EndpointURL(s string) (base string, err error) {
	u, err := url.Parse(s)
	switch {
	case s == "":
		return "", Errorf(CodeInvalid, "write url: https://HOST", "url is missing")
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		return "", Errorf(CodeInvalid, "write url: https://HOST", "url is not http(s)://HOST")
	case u.User != nil:
		return "", Errorf(CodeInvalid,
			"use user and password_env, password_file or password_command", "url holds credentials")
	case strings.ContainsAny(s, "?#"):
		return "", Errorf(CodeInvalid, "write url: https://HOST", "url has more than a host and a path")
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// readURL returns nil if s is not a URL with a host. A host with several colons outside of brackets
// is in fact a user and a password with an unescaped slash.
func readURL(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || strings.Count(u.Host, ":") > 1 && u.Host[0] != '[' {
		return nil
	}
	return u
}

// IsDrive reports whether r is a drive, an existing or a new one.
func (r Ref) IsDrive() bool { return r.Endpoint != "" }

// IsURL reports whether r is fetched over HTTP.
func (r Ref) IsURL() bool {
	return strings.HasPrefix(r.Path, "http://") || strings.HasPrefix(r.Path, "https://")
}

// IsStd reports whether r is standard input or output.
func (r Ref) IsStd() bool { return r.Path == Std }

// IsFile reports whether r is a path in the file system.
func (r Ref) IsFile() bool { return r.Path != "" && !r.IsStd() && !r.IsURL() }

// Abs returns r with a file's path made absolute, so that it is valid in any working directory.
func (r Ref) Abs() (Ref, error) {
	if !r.IsFile() {
		return r, nil
	}
	abs, err := filepath.Abs(r.Path)
	if err != nil {
		return Ref{}, fmt.Errorf("make path absolute: %w", err)
	}
	r.Path = abs
	return r, nil
}

// String returns the address as Schemes.Parse reads it.
func (r Ref) String() string {
	if r.IsDrive() {
		return r.Endpoint + ":" + r.Drive
	}
	return r.Path
}

// HoldsUser reports whether r is a URL with user information, which may include a password. An
// unparsable URL counts, since any part of it may be user information.
func (r Ref) HoldsUser() bool {
	u := readURL(r.Path)
	return urlScheme.MatchString(r.Path) && (u == nil || u.User != nil)
}

// Redacted returns String without possible secrets: a URL's user, password, query and fragment. Of
// an unparsable URL only the scheme is left.
func (r Ref) Redacted() string {
	scheme := urlScheme.FindString(r.Path)
	if scheme == "" {
		return r.String()
	}
	if readURL(r.Path) == nil {
		return scheme + "…"
	}
	s, more := r.Path[len(scheme):], ""
	if i := strings.IndexAny(s, "?#"); i >= 0 {
		if i < len(s)-1 {
			more = s[i:i+1] + "…"
		}
		s = s[:i]
	}
	authority, path, slash := strings.Cut(s, "/")
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		authority = "…@" + authority[i+1:]
	}
	if slash {
		path = "/" + path
	}
	return scheme + authority + path + more
}
