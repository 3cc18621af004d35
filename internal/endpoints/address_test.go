package endpoints_test

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/transferd/transferd/internal/endpoints"
	"github.com/transferd/transferd/internal/transfer"
)

const (
	uuidA = "0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f"
	uuidB = "ffffffff-ffff-ffff-ffff-ffffffffffff"
)

func TestParseReadsEveryKindOfAddress(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want transfer.Ref
	}{
		{"zrh:", transfer.Ref{Endpoint: "zrh"}},
		{"zrh:" + uuidA, transfer.Ref{Endpoint: "zrh", Drive: uuidA}},
		{"zrh:" + strings.ToUpper(uuidA), transfer.Ref{Endpoint: "zrh", Drive: uuidA}},
		{"Z.r_h-2:" + uuidA, transfer.Ref{Endpoint: "Z.r_h-2", Drive: uuidA}},
		{"-", transfer.Ref{Path: "-"}},
		{"disk.img", transfer.Ref{Path: "disk.img"}},
		{uuidA, transfer.Ref{Path: uuidA}},
		{"./zrh:x", transfer.Ref{Path: "./zrh:x"}},
		{"/a/b:c", transfer.Ref{Path: "/a/b:c"}},
		{"a:b/c", transfer.Ref{Path: "a:b/c"}},
		{":", transfer.Ref{Path: ":"}},
		{"-zrh:" + uuidA, transfer.Ref{Path: "-zrh:" + uuidA}},
		{"http://h/x", transfer.Ref{Path: "http://h/x"}},
		{"https://h:8443/x?y=1", transfer.Ref{Path: "https://h:8443/x?y=1"}},
		{"HTTPS://u:p@H/X", transfer.Ref{Path: "https://u:p@H/X"}},
		{"./ftp://h/x", transfer.Ref{Path: "./ftp://h/x"}},
	} {
		if got, err := endpoints.Schemes.Parse(tc.in); err != nil || got != tc.want {
			t.Errorf("endpoints.Schemes.Parse(%q) = %+v, %v; want %+v", tc.in, got, err, tc.want)
		}
	}
}

func TestParseRefusesMalformedAddresses(t *testing.T) {
	for _, in := range []string{
		"", "zrh:x", "zrh:" + uuidA[1:], "zrh:" + uuidA + "0", "zrh: " + uuidA, "zrh:" + uuidA + "\n",
		"zrh:" + strings.ReplaceAll(uuidA, "-", ""), "zrh:a:b",
	} {
		if got, err := endpoints.Schemes.Parse(in); transfer.CodeOf(err) != transfer.CodeInvalid {
			t.Errorf("endpoints.Schemes.Parse(%q) = %+v, %v; want %s", in, got, err, transfer.CodeInvalid)
		}
	}
}

// TestRefusedURLIsNotRepeated: the error of a malformed URL, or of one with an unknown scheme, does
// not repeat a part that may be a password.
func TestRefusedURLIsNotRepeated(t *testing.T) {
	for _, in := range []string{
		"ftp://u:s3cret@h/x", "S3://u:s3cret@h/x", "file://s3cret/x?s3cret", "https://u:s3cret/more@h/x",
		"https://u:s3cret?more@h/x", "https://u:s3cret#more@h/x",
		"https://u:s3cret^@h/x", "https://u:s3cret\n@h/x", "https://u:s3cret@", "https:///x?s3cret", "https://",
	} {
		got, err := endpoints.Schemes.Parse(in)
		if transfer.CodeOf(err) != transfer.CodeInvalid {
			t.Errorf("endpoints.Schemes.Parse(%q) = %+v, %v; want %s", in, got, err, transfer.CodeInvalid)
		}
		for _, secret := range []string{"s3cret@", ":s3cret", "?s3cret"} {
			if strings.Contains(fmt.Sprint(err), secret) {
				t.Errorf("got %v, want no %q in it", err, secret)
			}
		}
	}
}

func TestRefHasOneKind(t *testing.T) {
	for _, tc := range []struct {
		in                    string
		drive, url, std, file bool
	}{
		{in: "zrh:", drive: true},
		{in: "zrh:" + uuidA, drive: true},
		{in: "http://h/x", url: true},
		{in: "https://h/x", url: true},
		{in: "-", std: true},
		{in: "disk.img", file: true},
		{in: "/var/disk.img", file: true},
	} {
		r, err := endpoints.Schemes.Parse(tc.in)
		if err != nil {
			t.Fatal(err)
		}
		if r.IsDrive() != tc.drive || r.IsURL() != tc.url || r.IsStd() != tc.std || r.IsFile() != tc.file {
			t.Errorf("got drive %t, URL %t, std %t, file %t; want %+v",
				r.IsDrive(), r.IsURL(), r.IsStd(), r.IsFile(), tc)
		}
	}
}

func TestAbsChangesFilesOnly(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for in, want := range map[string]string{
		"disk.img": filepath.Join(dir, "disk.img"), "./a/../b:c": filepath.Join(dir, "b:c"), "/x": "/x",
		"-": "-", "zrh:": "zrh:", "https://h/a/../b": "https://h/a/../b",
	} {
		r, err := endpoints.Schemes.Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		if r, err = r.Abs(); err != nil || r.String() != want {
			t.Errorf("%q: got %q, %v; want %q", in, r, err, want)
		}
	}
}

func TestRedactedShowsNoSecret(t *testing.T) {
	for in, want := range map[string]string{
		"zrh:" + uuidA:                       "zrh:" + uuidA,
		"/a/b?c@d":                           "/a/b?c@d",
		"http://h/x":                         "http://h/x",
		"http://h":                           "http://h",
		"http://h?":                          "http://h",
		"https://user:secret@h/x":            "https://…@h/x",
		"https://user:se@cret@h/x":           "https://…@h/x",
		"https://secret@h":                   "https://…@h",
		"https://h/x?X-Amz-Signature=secret": "https://h/x?…",
		"https://u:secret@h:1/a@b?t=secret@h/x/y": "https://…@h:1/a@b?…",
		"https://h/x#secret":                      "https://h/x#…",
		"HTTP://user:secret@h/x":                  "http://…@h/x",
	} {
		r, err := endpoints.Schemes.Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Redacted(); got != want || strings.Contains(got, "secret") {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func FuzzRef(f *testing.F) {
	for _, s := range []string{
		"zrh:", "zrh:" + uuidA, "-", "disk.img", "./zrh:x", "https://u:p@h/x?y", ":", "a:b/c", "zrh:x",
		"HTTPS://u:p@h/x", "ftp://u:p@h/x", "./ftp://h", "https://u:pa/ss@h/x", "https://h:1/a@b",
		"http://[::1]:80/x#y?z", "https://u:p@x@h", "https://%zz", "http://h?@#@", "https://",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := endpoints.Schemes.Parse(s)
		if err != nil {
			return
		}
		if (r.Endpoint == "") == (r.Path == "") {
			t.Fatalf("%q: got %+v, want either an endpoint or a path", s, r)
		}
		if back, err := endpoints.Schemes.Parse(r.String()); err != nil || back != r {
			t.Fatalf("%q, written as %q: got %+v, %v; want %+v", s, r, back, err, r)
		}
		if r.IsFile() && r.Redacted() != r.Path {
			t.Errorf("a file: got %q, want %q", r.Redacted(), r.Path)
		}
	})
}

// FuzzPassword puts passwords into addresses, valid and invalid: no text shows the password.
func FuzzPassword(f *testing.F) {
	for _, s := range []string{
		"s3cret", "pa/ss", "pa?ss", "pa#ss", "pa@ss", "p:a:ss", "12/34@x", "%2F", "%zz", "[::1]", "a b\n", "\\", "…",
		"://", "a:1/b",
	} {
		f.Add("https", s)
		f.Add("FTP", s)
	}
	urlScheme := regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`) // RFC 3986, 3.1
	// Such a password looks like a port, or like a host with a path.
	ambiguous := regexp.MustCompile(`^[0-9]*([/?#]|$)|(?s:@.*[/?#])`)
	f.Fuzz(func(t *testing.T, scheme, password string) {
		const shown = "://…@host.example/image"
		secret := ":" + password + "@"
		s := scheme + "://ops" + secret + "host.example/image"
		if !urlScheme.MatchString(s) || ambiguous.MatchString(password) {
			return
		}
		r, err := endpoints.Schemes.Parse(s)
		if err != nil {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%q: got %v, want no password in it", s, err)
			}
			r = transfer.Ref{Path: s} // another program may have enqueued such a job
		}
		if got := r.Redacted(); !strings.HasSuffix(got, shown) && !strings.HasSuffix(got, "://…") || !r.HoldsUser() {
			t.Errorf("%q: got %q, HoldsUser %t; want no password, and true", s, got, r.HoldsUser())
		}
	})
}
