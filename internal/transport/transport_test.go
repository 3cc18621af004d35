package transport

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// served is a pool of connections and the URL of a server that h plays.
func served(t testing.TB, h http.HandlerFunc) (pool *http.Transport, url string) {
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

// echo answers with the body of the request.
func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	_, _ = w.Write(body)
}

// largest notes the longest buffer that Read is given.
type largest struct {
	io.Reader
	n int
}

func (l *largest) Read(p []byte) (int, error) {
	l.n = max(l.n, len(p))
	return l.Reader.Read(p)
}

// TestBodiesGoInLargePieces holds the size of the pieces in which a body is sent, and that they are
// all of the body.
func TestBodiesGoInLargePieces(t *testing.T) {
	pool, url := served(t, echo)
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
		t.Errorf("%d bytes came back, %v; want %d", got.Len(), err, len(data))
	}
	if body.n != pieceSize {
		t.Errorf("the longest read is %d bytes, want %d", body.n, pieceSize)
	}
}

// TestNewRefusesBadCertificates passes the errors of certs.Roots on.
func TestNewRefusesBadCertificates(t *testing.T) {
	if _, err := New(Config{CAFile: t.TempDir() + "/none.pem"}); transfer.CodeOf(err) != transfer.CodeInvalid {
		t.Errorf("got %v, want %s", err, transfer.CodeInvalid)
	}
}
