package transport

import (
	"bytes"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
)

// newServer is a pool of connections and the URL of a server with the handler h.
func newServer(t testing.TB, h http.HandlerFunc) (pool *Pool, url string) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	pool, err := New(Config{MaxIdle: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.CloseIdleConnections)
	return pool, s.URL
}

// echo responds with the body of the request.
func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	_, _ = w.Write(body)
}

// largest records the length of the longest buffer of a Read.
type largest struct {
	io.Reader
	n int
}

func (l *largest) Read(p []byte) (int, error) {
	l.n = max(l.n, len(p))
	return l.Reader.Read(p)
}

// TestBodiesAreSentInLargePieces: a body is sent in pieces of pieceSize, and completely.
func TestBodiesAreSentInLargePieces(t *testing.T) {
	pool, url := newServer(t, echo)
	data := bytes.Repeat([]byte("0123456789"), 100_000)
	body := &largest{Reader: bytes.NewReader(data)}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = int64(len(data))
	resp, err := pool.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var got bytes.Buffer
	if _, err := Copy(&got, resp.Body); err != nil || !bytes.Equal(got.Bytes(), data) {
		t.Errorf("got %d bytes, %v; want %d", got.Len(), err, len(data))
	}
	if body.n != pieceSize {
		t.Errorf("the longest read: got %d bytes, want %d", body.n, pieceSize)
	}
}

// TestNewRefusesBadCertificates: New returns the errors of certs.NewTrust.
func TestNewRefusesBadCertificates(t *testing.T) {
	if _, err := New(Config{CAFile: t.TempDir() + "/none.pem"}); transfer.CodeOf(err) != transfer.CodeInvalid {
		t.Errorf("got %v, want %s", err, transfer.CodeInvalid)
	}
}

// TestRenewedCertificatesAreTrusted: a new connection trusts the current content of the file.
// Connections that trusted the earlier content are closed.
func TestRenewedCertificatesAreTrusted(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(echo))
	t.Cleanup(s.Close)
	path := filepath.Join(t.TempDir(), "ca.pem")
	trust := func(content []byte) {
		t.Helper()
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wrong, _ := transfertest.Certificate(t)
	right := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	trust(wrong)
	pool, err := New(Config{CAFile: path, MaxIdle: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.CloseIdleConnections)
	for step, tc := range []struct {
		trusted []byte
		code    transfer.Code
	}{{wrong, transfer.CodeUntrusted}, {right, ""}, {right, ""}, {wrong, transfer.CodeUntrusted}, {right, ""}} {
		trust(tc.trusted)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := pool.RoundTrip(req)
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		} else {
			err = new(Meanings).Failure(t.Context(), err)
		}
		if transfer.CodeOf(err) != tc.code {
			t.Errorf("step %d: got %v, want %q", step, err, tc.code)
		}
	}
}
