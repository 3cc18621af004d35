package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// TestMemory moves a sparse image of a tebibyte, whose size must not matter: what is in flight takes two chunks each, and
// everything else, the ledger of some chunks and Go itself, 96 MiB.
func TestMemory(t *testing.T) {
	const inFlight, data, size = 8, 128 << 20, 1 << 40
	const bound = inFlight*2*transfer.DefaultChunkSize + 96<<20
	dir := t.TempDir()
	image := filepath.Join(dir, "disk.img")
	f, err := os.Create(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, transfer.DefaultChunkSize)
	_, _ = rand.Read(p)
	for off := int64(0); off < size; off += size / (data / int64(len(p))) {
		if _, err := f.WriteAt(p, off); err != nil {
			t.Fatal(err)
		}
	}
	url := sandboxFor(t, dir)
	config := fmt.Sprintf("endpoints: {a: {url: %q, user: u, password_env: SANDBOX_PASSWORD}}\n", url)
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, level := range []string{"auto", "1"} {
		cmd := exec.Command(filepath.Join(programs, "transferctl"), "upload", image, "a:", "--local", "--concurrency", fmt.Sprint(inFlight), "--compression", level)
		cmd.Env = append(os.Environ(), "TRANSFERD_CONFIG="+filepath.Join(dir, "config.yaml"), "TRANSFERD_STATE="+filepath.Join(dir, "state"), "SANDBOX_PASSWORD=p")
		forgetPeak(t)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if peak := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10; peak > bound {
			t.Errorf("compression %s: %d MiB of memory, more than %d", level, peak>>20, bound>>20)
		}
	}
}

// forgetPeak makes this process' peak of memory what it has now: that of a program begins with the one of the process that
// starts it, whose memory it has until it is loaded.
func forgetPeak(t *testing.T) {
	t.Helper()
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil { // proc(5)
		t.Fatal(err)
	}
}

// sandboxFor runs a sandbox until the test ends and returns its URL.
func sandboxFor(t *testing.T, dir string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(programs, "transferd"), "sandbox", "--listen", "127.0.0.1:0", "--data", filepath.Join(dir, "drives"), "--user", "u", "--password", "p")
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadBytes('\n')
	_, rest, ok := bytes.Cut(line, []byte("sandbox: "))
	if err != nil || !ok {
		t.Fatalf("the sandbox says %q, %v", line, err)
	}
	url, _, _ := strings.Cut(string(rest), ",")
	return url
}
