package api

import (
	"bytes"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/transferd/transferd/internal/codec"
	"github.com/transferd/transferd/internal/transfer"
)

const (
	uuid     = "70863015-61fa-4470-a01b-38c45bf24dee"
	password = "s3cret-pass"
)

// newEndpoint is a client of a server with the handler h.
func newEndpoint(t testing.TB, h http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return client(t, Config{URL: s.URL})
}

func client(t testing.TB, cfg Config) *Client {
	t.Helper()
	cfg.Name, cfg.User, cfg.Password = "zrh", "ops", password
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// expect checks an error's code, that it contains words, and that it does not contain the password.
func expect(t testing.TB, err error, code transfer.Code, words ...string) {
	t.Helper()
	if transfer.CodeOf(err) != code {
		t.Fatalf("got %v (%q), want %q", err, transfer.CodeOf(err), code)
	}
	var e *transfer.Error
	if !errors.As(err, &e) {
		return
	}
	text := err.Error() + "\n" + e.Hint
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("got %q, want %q in it", text, w)
		}
	}
	if strings.Contains(text, password) {
		t.Errorf("got %q, want no password in it", text)
	}
}

// drive is a drive of size bytes that the job made.
func drive(c *Client, size int64, compression transfer.Compression) *Drive {
	d := &Drive{client: c, uuid: uuid, size: size}
	return d.ForWriting(codec.NewCodec(compression), true)
}

// calls records the calls that a server receives.
type calls struct {
	mu   sync.Mutex
	list []call
}

type call struct {
	method, path, body string
	header             http.Header
	length             int64
	encoding           []string // Transfer-Encoding
}

func (c *calls) record(r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	got := call{r.Method, r.URL.Path, string(body), r.Header, r.ContentLength, r.TransferEncoding}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, got)
}

func (c *calls) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = nil
}

func repeat(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }

// authority is a PEM file with the certificate of a server.
func authority(t testing.TB, s *httptest.Server) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(path, cert, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// refusing is a client of an endpoint that responds to all calls with a status and a text.
func refusing(t testing.TB, status int, text string) *Client {
	return newEndpoint(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(text))
	})
}

// responding is a client of an endpoint with one response for each path: path, text, path, text.
func responding(t testing.TB, pairs ...string) *Client {
	return newEndpoint(t, func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i < len(pairs); i += 2 {
			if r.URL.Path == pairs[i] {
				_, _ = w.Write([]byte(pairs[i+1]))
				return
			}
		}
		http.NotFound(w, r)
	})
}
