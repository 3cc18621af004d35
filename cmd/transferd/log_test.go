package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/transferd/transferd/internal/queue"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
)

// TestLibrariesLogAsJSON: a line that net/http writes through package log is a warning in JSON.
func TestLibrariesLogAsJSON(t *testing.T) {
	url := transfertest.UnsolicitedServer(t)
	p := startProcess(t, "endpoints:\n  zrh: {url: "+url+", user: u, password_file: /proc/sys/kernel/ostype}\n", nil)
	image := filepath.Join(t.TempDir(), "a.img")
	if err := os.WriteFile(image, []byte(strings.Repeat("image", 1024)), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := queue.Dial(t.Context(), queue.Options{URL: "unix://" + filepath.Join(p.state, "queue", "redis.sock")})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	spec := transfer.NewSpec(transfer.Upload, transfer.Ref{Path: image}, transfer.Ref{Endpoint: "zrh"})
	spec.Name = "a"
	if _, err := c.Enqueue(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	if err := p.logs.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	var line struct{ Level, Msg string }
	for !strings.HasPrefix(line.Msg, "Unsolicited response") {
		if !p.lines.Scan() {
			t.Fatalf("the log ended before the line of net/http: %v", p.lines.Err())
		}
		if err := json.Unmarshal(p.lines.Bytes(), &line); err != nil {
			t.Fatalf("got %q, want JSON: %v", p.lines.Text(), err)
		}
	}
	if line.Level != "warn" {
		t.Errorf("got level %q, want warn", line.Level)
	}
	p.signal(syscall.SIGTERM)
	p.ends(0)
}
