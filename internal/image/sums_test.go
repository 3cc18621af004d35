package image

import (
	"net/http"
	"strings"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// TestSumsAreFoundInTheFormsThatPublishersUse, by the name of the file and then by its path.
func TestSumsAreFoundInTheFormsThatPublishersUse(t *testing.T) {
	a, b, c := strings.Repeat("a1", 32), strings.Repeat("B2", 32), strings.Repeat("c3", 32)
	for name, tc := range map[string]struct {
		list, source, want string // want is a part of the error if it is no sum
		line               int
	}{
		"sha256sum":       {a + "  other.img\n" + b + "  disk.img\n", "/x/disk.img", b, 2},
		"binary":          {b + " *disk.img\n", "/x/disk.img", b, 1},
		"one space":       {b + " disk.img\n", "/x/disk.img", b, 1},
		"CRLF and BOM":    {"\xef\xbb\xbf" + b + "  disk.img\r\n", "/x/disk.img", b, 1},
		"spaces in names": {b + "  my disk.img", "/x/my disk.img", b, 1},
		"BSD":             {"SHA256 (other.img) = " + a + "\nSHA256 (disk.img) = " + b + "\n", "/x/disk.img", b, 2},
		"BSD and others": {
			"MD5 (disk.img) = 00\nSHA512 (disk.img) = " + a + a + "\nSHA256 (disk.img) = " + b, "disk.img", b, 3,
		},
		"a path":           {b + "  ./images/disk.img\n", "/x/disk.img", b, 1},
		"a BSD path":       {"SHA256 (images/disk.img) = " + b, "/x/disk.img", b, 1},
		"the nearest path": {a + "  arm64/disk.img\n" + b + "  amd64/disk.img\n", "/12/amd64/disk.img", b, 2},
		"equal sums":       {b + "  a/disk.img\n" + b + "  b/disk.img\n", "/x/disk.img", b, 1},
		"an escaped name":  {`\` + b + `  di\\sk.img`, `/x/di\sk.img`, b, 1},
		"alone":            {b + "\n", "/x/disk.img", b, 1},
		"alone, of stdin":  {b + "  -\n", "/x/disk.img", b, 1},
		"signed": {
			"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n# disk.img: 7 bytes\n" + b + "  disk.img\n" +
				"-----BEGIN PGP SIGNATURE-----\n\nAbCd\n-----END PGP SIGNATURE-----\n", "disk.img", b, 5,
		},
		"contradicting": {
			a + "  x/disk.img\n" + c + "  y/disk.img\n", "/z/disk.img", "lines 1 and 2 have different sums", 0,
		},
		"another name":       {a + "  disk.img.gz\n", "/x/disk.img", `no line for "disk.img"; it has "disk.img.gz"`, 0},
		"the end of a name":  {a + "  old-disk.img\n", "/x/disk.img", "no line for", 0},
		"two without a name": {a + "\n" + b + "\n", "/x/disk.img", "no line for", 0},
		"a page":             {"<html>disk.img</html>", "/x/disk.img", "no SHA-256 sums", 0},
		"other sums":         {a[:40] + "  disk.img\n", "/x/disk.img", "no SHA-256 sums", 0},
		"nothing":            {"", "/x/disk.img", "no SHA-256 sums", 0},
	} {
		got, err := findSum(parseSums([]byte(tc.list)), tc.source)
		switch {
		case tc.line == 0 && (err == nil || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%s: got %+v, %v; want an error with %q", name, got, err, tc.want)
		case tc.line > 0 && (err != nil || got.sha256 != strings.ToLower(tc.want) || got.line != tc.line):
			t.Errorf("%s: got %+v, %v; want %s of line %d", name, got, err, tc.want, tc.line)
		}
	}
}

// TestListOfSumsIsFetched with the credentials of its host, up to a size, and named without its
// secrets.
func TestListOfSumsIsFetched(t *testing.T) {
	want := strings.Repeat("a1", 32)
	size := maxSums
	s, host := tlsServer(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != token:
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/large":
			_, _ = w.Write(make([]byte, size))
		default:
			_, _ = w.Write([]byte(want + "  disk.img\n"))
		}
	})
	opts := Options{Credentials: credential(host), transport: s.Client().Transport}
	source := transfer.Ref{Path: s.URL + "/a/disk.img?token=secret"}
	got, err := FetchSum(t.Context(), s.URL+"/a/SHA256SUMS?token=secret", source, opts)
	if err != nil || got.SHA256 != want || got.Origin != `line 1 of `+s.URL+`/a/SHA256SUMS?… ("disk.img")` {
		t.Errorf("got %+v, %v; want %s and the line", got, err, want)
	}
	_, err = FetchSum(t.Context(), s.URL+"/large", source, opts)
	expect(t, err, transfer.CodeInvalid, "no SHA-256 sums", "--sha256")
	size++
	_, err = FetchSum(t.Context(), s.URL+"/large", source, opts)
	expect(t, err, transfer.CodeInvalid, "more than 4194304 bytes")
	_, err = FetchSum(t.Context(), s.URL+"/SHA256SUMS", source, Options{transport: s.Client().Transport})
	expect(t, err, transfer.CodeForbidden)
}

// FuzzParseSums: each sum of any list stands in its line, and is found by the name of its file,
// unless another line contradicts it.
func FuzzParseSums(f *testing.F) {
	a := strings.Repeat("a1", 32)
	for _, list := range []string{
		a + "  disk.img\n" + strings.ToUpper(a) + " *x/disk.img\r\n", "SHA256 (x/disk.img) = " + a,
		`\` + a + `  di\\sk.img`, a + "\n", a + "  -\n", "\xef\xbb\xbf" + a + "  a\n\n# text\n",
	} {
		f.Add([]byte(list))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		sums := parseSums(text)
		lines := strings.Split(strings.ToLower(string(text)), "\n")
		for _, s := range sums[:min(10, len(sums))] {
			if len(s.sha256) != 64 || !strings.Contains(lines[s.line-1], s.sha256) {
				t.Errorf("got %+v, want a sum of its line", s)
			}
			got, err := findSum(sums, s.file)
			lost := err != nil && strings.HasPrefix(err.Error(), "it has")
			if lost || err == nil && commonEnd(got.file, s.file) == 0 {
				t.Errorf("by the name of %+v: got %+v, %v; want a line of that name", s, got, err)
			}
		}
	})
}
