package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/transferd/transferd/internal/cli"
	"github.com/transferd/transferd/internal/config"
)

const someUUID = "0a1b2c3d-0a1b-4a1b-8a1b-0a1b2c3d4e5f"

// newTestApp is an app in this process, with an endpoint zrh that is handler, and an empty cache.
func newTestApp(t *testing.T, handler http.HandlerFunc) (a *app, stdout, stderr *bytes.Buffer) {
	t.Helper()
	endpoint := httptest.NewServer(handler)
	t.Cleanup(endpoint.Close)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("SANDBOX_PASSWORD", "p")
	stdout, stderr = new(bytes.Buffer), new(bytes.Buffer)
	e := config.Endpoint{URL: endpoint.URL, User: "u", PasswordEnv: "SANDBOX_PASSWORD"}
	return &app{
		stdout: cli.NewResults(stdout), stderr: stderr, output: outputText,
		cfg: &config.Config{Endpoints: map[string]config.Endpoint{"zrh": e}},
	}, stdout, stderr
}
