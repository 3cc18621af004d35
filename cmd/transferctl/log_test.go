package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/transferd/transferd/internal/transfertest"
)

// TestLibrariesDoNotWriteToStderr: a line that net/http logs through package log is not printed.
func TestLibrariesDoNotWriteToStderr(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yaml")
	text := "endpoints:\n  zrh: {url: " + transfertest.UnsolicitedServer(t) + ", user: u, password_env: ZRH_PASSWORD}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(programs, "transferctl"), "drives", "list", "zrh")
	cmd.Env = append(os.Environ(), "TRANSFERD_CONFIG="+config, "TRANSFERD_STATE="+dir, "ZRH_PASSWORD=p")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "trying again") {
		t.Errorf("got %v and %s, want no error and a retry", err, out)
	}
	if strings.Contains(string(out), "Unsolicited") {
		t.Errorf("stderr has the line of net/http:\n%s", out)
	}
}
