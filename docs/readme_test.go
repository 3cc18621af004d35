package docs

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/transferd/transferd/internal/transfertest"
)

// TestQuickStartRuns types the quick start of README.md, on a free port.
func TestQuickStartRuns(t *testing.T) {
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "bin")+"/", "../cmd/...")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(dir, "disk.img"), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	address := transfertest.FreeAddress(t)
	script := strings.NewReplacer(
		"transferd sandbox ", "transferd sandbox --listen "+address+" ",
		"127.0.0.1:7420\"", address+"\"",
	).Replace(block(t, "../README.md", "## Quick start", "sh"))
	if strings.Count(script, address) != 2 {
		t.Fatalf("the quick start has another form:\n%s", script)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-e")
	cmd.Stdin = strings.NewReader(script + "kill $!; wait $! || true\n")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(dir, "bin")+":"+os.Getenv("PATH"), "HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second // the sandbox has the output, too, and goes on if the script fails
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	if err != nil || !strings.Contains(out.String(), "\nequal\n") {
		t.Errorf("got %v, want a verified drive:\n%s", err, &out)
	}
}

// block returns the first fenced block of a language below a heading.
func block(t *testing.T, page, heading, language string) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n"+heading+"\n")
	_, rest, _ = strings.Cut(rest, "```"+language+"\n")
	script, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatalf("%s has no block of %s below %q", page, language, heading)
	}
	return script
}
