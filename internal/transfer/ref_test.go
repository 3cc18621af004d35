package transfer

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const (
	uuidA = "0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f"
	uuidB = "ffffffff-ffff-ffff-ffff-ffffffffffff"
)

func TestParseRef(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want Ref
	}{
		{"zrh:", Ref{Endpoint: "zrh"}},
		{"zrh:" + uuidA, Ref{Endpoint: "zrh", Drive: uuidA}},
		{"zrh:" + strings.ToUpper(uuidA), Ref{Endpoint: "zrh", Drive: uuidA}},
		{"Z.r_h-2:" + uuidA, Ref{Endpoint: "Z.r_h-2", Drive: uuidA}},
		{"-", Ref{Path: "-"}},
		{"disk.img", Ref{Path: "disk.img"}},
		{uuidA, Ref{Path: uuidA}},
		{"./zrh:x", Ref{Path: "./zrh:x"}},
		{"/a/b:c", Ref{Path: "/a/b:c"}},
		{"a:b/c", Ref{Path: "a:b/c"}},
		{":", Ref{Path: ":"}},
		{"-zrh:" + uuidA, Ref{Path: "-zrh:" + uuidA}},
		{"http://h/x", Ref{Path: "http://h/x"}},
		{"https://h:8443/x?y=1", Ref{Path: "https://h:8443/x?y=1"}},
		{"HTTPS://u:p@H/X", Ref{Path: "https://u:p@H/X"}},
		{"./ftp://h/x", Ref{Path: "./ftp://h/x"}},
	} {
		if got, err := ParseRef(tc.in); err != nil || got != tc.want {
			t.Errorf("ParseRef(%q) = %+v, %v; want %+v", tc.in, got, err, tc.want)
		}
	}
}

func TestParseRefRefuses(t *testing.T) {
	for _, in := range []string{
		"", "zrh:x", "zrh:" + uuidA[1:], "zrh:" + uuidA + "0", "zrh: " + uuidA, "zrh:" + uuidA + "\n", "zrh:" + strings.ReplaceAll(uuidA, "-", ""), "zrh:a:b",
	} {
		if got, err := ParseRef(in); CodeOf(err) != CodeInvalid {
			t.Errorf("ParseRef(%q) = %+v, %v; want %s", in, got, err, CodeInvalid)
		}
	}
}

// TestParseRefRefusesURLs that it cannot read, or that nobody fetches, and does not repeat what may be a password.
func TestParseRefRefusesURLs(t *testing.T) {
	for _, in := range []string{
		"ftp://u:s3cret@h/x", "S3://u:s3cret@h/x", "file://s3cret/x?s3cret", "https://u:s3cret/more@h/x", "https://u:s3cret?more@h/x", "https://u:s3cret#more@h/x",
		"https://u:s3cret^@h/x", "https://u:s3cret\n@h/x", "https://u:s3cret@", "https:///x?s3cret", "https://",
	} {
		got, err := ParseRef(in)
		if CodeOf(err) != CodeInvalid {
			t.Errorf("ParseRef(%q) = %+v, %v; want %s", in, got, err, CodeInvalid)
		}
		if strings.Contains(fmt.Sprint(err), "s3cret@") || strings.Contains(fmt.Sprint(err), ":s3cret") || strings.Contains(fmt.Sprint(err), "?s3cret") {
			t.Errorf("%v", err)
		}
	}
}

func TestHoldsUser(t *testing.T) {
	for path, want := range map[string]bool{
		"https://user:secret@h/x": true, "http://user@h": true, "https://u:p@h?x": true, "https://h/a@b": false, "https://h?a@b": false,
		"https://h": false, "/a@b": false, "user:secret@h": false, "HTTPS://u:p@h/x": true, "ftp://u:p@h": true, "https://u:pa/ss@h/x": true,
	} {
		if got := (Ref{Path: path}).HoldsUser(); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}

func TestRefKinds(t *testing.T) {
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
		r, err := ParseRef(tc.in)
		if err != nil {
			t.Fatal(err)
		}
		if r.IsDrive() != tc.drive || r.IsURL() != tc.url || r.IsStd() != tc.std || r.IsFile() != tc.file {
			t.Errorf("%q: drive %t, URL %t, std %t, file %t", tc.in, r.IsDrive(), r.IsURL(), r.IsStd(), r.IsFile())
		}
	}
}

func TestRefAbs(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for in, want := range map[string]string{
		"disk.img": filepath.Join(dir, "disk.img"), "./a/../b:c": filepath.Join(dir, "b:c"), "/x": "/x",
		"-": "-", "zrh:": "zrh:", "https://h/a/../b": "https://h/a/../b",
	} {
		r, err := ParseRef(in)
		if err != nil {
			t.Fatal(err)
		}
		if r, err = r.Abs(); err != nil || r.String() != want {
			t.Errorf("%q is %q, %v; want %q", in, r, err, want)
		}
	}
}

func TestRefRedacted(t *testing.T) {
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
		r, err := ParseRef(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Redacted(); got != want || strings.Contains(got, "secret") {
			t.Errorf("%q is shown as %q, want %q", in, got, want)
		}
	}
}

func TestEndpointURL(t *testing.T) {
	for in, want := range map[string]string{
		"https://h": "https://h", "http://h:8080/": "http://h:8080", "https://h/api/1.0/": "https://h/api/1.0", "https://[::1]:443": "https://[::1]:443",
		"": "", "h": "", "ftp://h": "", "https://": "", "https:///x": "", "https://u:secret@h": "", "https://u@h": "", "https://h?secret=1": "",
		"https://h/#secret": "", "https://h/?": "", "https://h:secret": "", "://secret": "",
	} {
		got, err := EndpointURL(in)
		if got != want || (err == nil) != (want != "") || err != nil && (CodeOf(err) != CodeInvalid || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestValidNames(t *testing.T) {
	for name, want := range map[string]bool{
		"zrh": true, "0": true, "a.b-c_d": true, "": false, "-a": false, ".a": false, "_a": false, "a b": false, "a/b": false, "a\n": false, "ä": false, "a:b": false,
	} {
		if ValidEndpointName(name) != want {
			t.Errorf("ValidEndpointName(%q) = %t", name, !want)
		}
	}
	for id, want := range map[string]bool{
		uuidA: true, uuidB: true, "": false, strings.ToUpper(uuidA): false, uuidA + "\n": false, "../" + uuidA[3:]: false,
	} {
		if ValidDriveUUID(id) != want {
			t.Errorf("ValidDriveUUID(%q) = %t", id, !want)
		}
	}
}

func FuzzRef(f *testing.F) {
	for _, s := range []string{
		"zrh:", "zrh:" + uuidA, "-", "disk.img", "./zrh:x", "https://u:p@h/x?y", ":", "a:b/c", "zrh:x", "HTTPS://u:p@h/x", "ftp://u:p@h/x", "./ftp://h",
		"https://u:pa/ss@h/x", "https://h:1/a@b", "http://[::1]:80/x#y?z", "https://u:p@x@h", "https://%zz", "http://h?@#@", "https://",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRef(s)
		if err != nil {
			return
		}
		if (r.Endpoint == "") == (r.Path == "") {
			t.Fatalf("%q is %+v: not exactly one of endpoint and path", s, r)
		}
		if back, err := ParseRef(r.String()); err != nil || back != r {
			t.Fatalf("%q is %+v, written %q, read again %+v, %v", s, r, r, back, err)
		}
		if r.IsFile() && r.Redacted() != r.Path {
			t.Errorf("the file %q is shown as %q", r.Path, r.Redacted())
		}
	})
}

// FuzzPassword puts every password into an address: it is never shown, whether or not the address can be read.
func FuzzPassword(f *testing.F) {
	for _, s := range []string{"s3cret", "pa/ss", "pa?ss", "pa#ss", "pa@ss", "p:a:ss", "12/34@x", "%2F", "%zz", "[::1]", "a b\n", "\\", "…", "://", "a:1/b"} {
		f.Add("https", s)
		f.Add("FTP", s)
	}
	// What no reader can tell from a port, or from a host, and what follows it.
	plain := regexp.MustCompile(`^[0-9]*([/?#]|$)|(?s:@.*[/?#])`)
	f.Fuzz(func(t *testing.T, scheme, password string) {
		const shown = "://…@host.example/image"
		secret := ":" + password + "@"
		s := scheme + "://ops" + secret + "host.example/image"
		if !urlScheme.MatchString(s) || plain.MatchString(password) {
			return
		}
		r, err := ParseRef(s)
		if err != nil {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%q is refused with %v", s, err)
			}
			r = Ref{Path: s} // as a job may have it that another program enqueued
		}
		if got := r.Redacted(); !strings.HasSuffix(got, shown) && !strings.HasSuffix(got, "://…") || !r.HoldsUser() {
			t.Errorf("%q is shown as %q, and holds a user: %t", s, got, r.HoldsUser())
		}
	})
}
