// Package sandboxtest starts sandboxes for tests.
package sandboxtest

import (
	"net/http/httptest"
	"testing"

	"github.com/transferd/transferd/internal/sandbox"
)

// Start serves a sandbox over HTTP until the test ends. Faults have the form of sandbox.ParseFault.
func Start(t testing.TB, cfg sandbox.Config, faults ...string) (s *sandbox.Server, url string) {
	t.Helper()
	for _, f := range faults {
		fault, err := sandbox.ParseFault(f)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Faults = append(cfg.Faults, fault)
	}
	s, err := sandbox.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		server.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, server.URL
}
