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

// served is a client of an endpoint that h plays.
func served(t testing.TB, h http.HandlerFunc) *Client {
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

// want checks an error's code, and that it keeps the password to itself.
func want(t testing.TB, err error, code transfer.Code, words ...string) {
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
			t.Errorf("%q does not say %q", text, w)
		}
	}
	if strings.Contains(text, password) {
		t.Errorf("%q tells the password", text)
	}
}

// drive is one of size bytes that is written as its codec says.
func drive(c *Client, size int64, compression transfer.Compression) *Drive {
	d := &Drive{client: c, uuid: uuid, size: size}
	return d.ForWriting(codec.NewCodec(compression), true)
}

// calls keeps what a server was asked.
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

func (c *calls) note(r *http.Request) {
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

// authority is a file with the certificate of a server.
func authority(t testing.TB, s *httptest.Server) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
