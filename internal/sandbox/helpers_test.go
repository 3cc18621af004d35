package sandbox

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
)

const (
	testUser     = "ops@example.com"
	testPassword = "open sesame"
)

// rig is a Server behind a real HTTP server on loopback.
type rig struct {
	testing.TB
	s    *Server
	http *httptest.Server
}

func testConfig(t testing.TB) Config {
	return Config{Dir: t.TempDir(), User: testUser, Password: testPassword, Seed: 1}
}

func newRig(t testing.TB, change ...func(*Config)) *rig {
	t.Helper()
	cfg := testConfig(t)
	for _, c := range change {
		c(&cfg)
	}
	return serveRig(t, cfg)
}

func serveRig(t testing.TB, cfg Config) *rig {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{TB: t, s: s, http: httptest.NewServer(s.Handler())}
	r.http.Client().Timeout = time.Minute
	t.Cleanup(r.stop)
	return r
}

func (r *rig) stop() {
	r.http.Close()
	if err := r.s.Close(); err != nil {
		r.Errorf("Close: %v", err)
	}
}

// faults replaces the faults, in the form of ParseFault.
func (r *rig) faults(specs ...string) {
	r.Helper()
	var faults []Fault
	for _, spec := range specs {
		f, err := ParseFault(spec)
		if err != nil {
			r.Fatal(err)
		}
		faults = append(faults, f)
	}
	if err := r.s.SetFaults(faults); err != nil {
		r.Fatal(err)
	}
}

// result is a response with its whole body.
type result struct {
	status int
	header http.Header
	body   []byte
}

func (r *rig) request(method, path string, body io.Reader, header ...string) *http.Request {
	r.Helper()
	req, err := http.NewRequest(method, r.http.URL+path, body)
	if err != nil {
		r.Fatal(err)
	}
	req.SetBasicAuth(testUser, testPassword)
	req.Header.Set("Accept-Encoding", "identity")
	for pair := range slices.Chunk(header, 2) {
		req.Header.Set(pair[0], pair[1])
	}
	return req
}

func (r *rig) try(req *http.Request) (result, error) {
	res, err := r.http.Client().Do(req)
	if err != nil {
		return result{}, err
	}
	defer res.Body.Close()
	if res.StatusCode < 300 {
		recorded.record(r.Name(), req.URL.Path)
	}
	body, err := io.ReadAll(res.Body)
	return result{res.StatusCode, res.Header, body}, err
}

func (r *rig) do(method, path string, body []byte, header ...string) result {
	r.Helper()
	a, err := r.try(r.request(method, path, bytes.NewReader(body), header...))
	if err != nil {
		r.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

// want sends a request, and checks the status of the response.
func (r *rig) want(status int, method, path string, body []byte, header ...string) result {
	r.Helper()
	a := r.do(method, path, body, header...)
	if a.status != status {
		r.Fatalf("%s %s: got status %d, want %d; body %q", method, path, a.status, status, a.body)
	}
	return a
}

func (r *rig) get(path string) result { r.Helper(); return r.want(200, "GET", path, nil) }

func (r *rig) post(path, body string) object {
	r.Helper()
	return decode(r.want(200, "POST", path, []byte(body)).body)
}

func (r *rig) create(size int64) string {
	r.Helper()
	o := r.post("/drives/create", "name test\nsize "+strconv.FormatInt(size, 10)+"\n")
	return value(o, "drive")
}

// createServer makes a stopped server; keys are lines of more input, each with its line end.
func (r *rig) createServer(keys string) string {
	r.Helper()
	return value(r.post("/servers/create", "name test\ncpu 1000\nmem 512\n"+keys), "server")
}

func (r *rig) createVLAN(name string) string {
	r.Helper()
	return value(r.post("/resources/vlan/create", "name "+name), "resource")
}

func (r *rig) createAddress() string {
	r.Helper()
	return value(r.post("/resources/ip/create", ""), "resource")
}

func (r *rig) createGroup(name string) string {
	r.Helper()
	return value(r.post("/servergroups/create", "name "+name), "uuid")
}

func (r *rig) server(id string) object {
	r.Helper()
	return decode(r.get("/servers/" + id + "/info").body)
}

func (r *rig) info(id string) object {
	r.Helper()
	return decode(r.get("/drives/" + id + "/info").body)
}

// standard lists the standard drives of a medium, which is img/, cd/, or empty for both.
func (r *rig) standard(medium string) []string {
	r.Helper()
	return strings.Fields(string(r.get("/drives/standard/" + medium + "list").body))
}

func (r *rig) write(id string, off int64, p []byte) {
	r.Helper()
	a := r.want(204, "POST", "/drives/"+id+"/write/"+strconv.FormatInt(off, 10), p)
	if len(a.body) != 0 {
		r.Fatalf("got 204 with body %q, want none", a.body)
	}
}

// read reads n bytes, at most maxRead at a time.
func (r *rig) read(id string, off, n int64) []byte {
	r.Helper()
	var all []byte
	for n > 0 {
		k := min(n, maxRead)
		a := r.get("/drives/" + id + "/read/" + strconv.FormatInt(off, 10) + "/" + strconv.FormatInt(k, 10))
		if int64(len(a.body)) != k {
			r.Fatalf("got %d bytes, want %d", len(a.body), k)
		}
		all = append(all, a.body...)
		off, n = off+k, n-k
	}
	return all
}

// dial opens a connection for raw HTTP.
func (r *rig) dial() *net.TCPConn {
	r.Helper()
	c, err := net.Dial("tcp", r.http.Listener.Addr().String())
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		r.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// head is the start of a raw request, up to its blank line.
func (r *rig) head(line string, header ...string) string {
	req := r.request("GET", "/", nil)
	return line + " HTTP/1.1\r\nHost: sandbox\r\nAuthorization: " + req.Header.Get("Authorization") + "\r\n" +
		strings.Join(append(header, "", ""), "\r\n")
}

func value(o object, key string) string {
	v, _ := o.get(key)
	return v
}

func contains(t testing.TB, text []byte, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !bytes.Contains(text, []byte(part)) {
			t.Errorf("got %q, want it to contain %q", text, part)
		}
	}
}

func equal(t testing.TB, got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("byte %d: got %#x, want %#x (lengths %d and %d)", i, got[i], want[i], len(got), len(want))
		}
	}
	t.Fatalf("got %d bytes, want %d", len(got), len(want))
}

// noise is n bytes that do not compress, the same for the same seed.
func noise(n int, seed uint64) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte(binary.LittleEndian.AppendUint64(make([]byte, 24), seed))).Read(p) // never fails
	return p
}

func gzipped(t testing.TB, p []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(p); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gunzipped(t testing.TB, p []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(p))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func concat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
