package api

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// TestRefusalsAreNotCarriedOut: after a status 3xx or 4xx, also with a page of a proxy, no drive
// was made. After 408 and 5xx that is unknown.
func TestRefusalsAreNotCarriedOut(t *testing.T) {
	for status, want := range map[int]bool{
		302: true, 400: true, 401: true, 403: true, 404: true, 405: true, 409: true, 429: true,
		408: false, 500: false, 502: false, 503: false, 504: false,
	} {
		for _, text := range []string{"errors:system no", "<html>no</html>"} {
			c := newEndpoint(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(status)
				_, _ = w.Write([]byte(text))
			})
			_, err := c.CreateDrive(t.Context(), CreateOptions{Name: "a", Size: 512})
			if got := errors.Is(err, transfer.ErrNotCarriedOut); got != want {
				t.Errorf("%d %s: got ErrNotCarriedOut %v (%v), want %v", status, text, got, err, want)
			}
		}
	}
}

// TestCallWithoutTLSIsNotCarriedOut: the port of an https endpoint speaks plain HTTP.
func TestCallWithoutTLSIsNotCarriedOut(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	c := client(t, Config{URL: "https://" + server.Listener.Addr().String()})
	_, err := c.CreateDrive(t.Context(), CreateOptions{Name: "a", Size: 512})
	if transfer.CodeOf(err) != transfer.CodeProtocol || !errors.Is(err, transfer.ErrNotCarriedOut) {
		t.Errorf("got %v, want %s and ErrNotCarriedOut", err, transfer.CodeProtocol)
	}
}
