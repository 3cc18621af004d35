package certs

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// TestRoots trusts the system's certificates alone without a file, those of the file with one, and
// refuses a file without any.
func TestRoots(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	for name, tc := range map[string]struct {
		content string
		code    transfer.Code
	}{
		"certificate": {string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})), ""},
		"words":       {"no certificate", transfer.CodeInvalid},
		"empty":       {"", transfer.CodeInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ca.pem")
			if err := os.WriteFile(path, []byte(tc.content), 0o600); err != nil {
				t.Fatal(err)
			}
			roots, err := Roots(path)
			if code := transfer.CodeOf(err); code != tc.code || (roots == nil) != (code != "") {
				t.Errorf("got %v, %v; want %q", roots, err, tc.code)
			}
		})
	}
	if _, err := Roots(filepath.Join(t.TempDir(), "none.pem")); transfer.CodeOf(err) != transfer.CodeInvalid {
		t.Errorf("of no file: got %v, want %s", err, transfer.CodeInvalid)
	}
	if roots, err := Roots(""); roots != nil || err != nil {
		t.Errorf("without a file: got %v, %v; want nil", roots, err)
	}
}
