package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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
		if peak := peakOf(t, cmd); peak > bound {
			t.Errorf("compression %s: got %d MiB of memory, want at most %d", level, peak>>20, bound>>20)
		}
	}
}

// asMeter has the test's program run the program in its arguments, and print its peak memory.
const asMeter = "TRANSFERD_TEST_METER"

// peakOf runs a program and returns its peak memory in bytes. A small process starts it, because a
// program starts with the peak of the process that starts it.
func peakOf(t *testing.T, cmd *exec.Cmd) int64 {
	t.Helper()
	meter := exec.Command("/proc/self/exe", cmd.Args...)
	meter.Env = append(cmd.Environ(), asMeter+"=1")
	meter.Stderr = os.Stderr
	out, err := meter.Output()
	if err != nil {
		t.Fatal(err)
	}
	peak, err := strconv.ParseInt(string(out), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return peak
}

// meter is what peakOf starts; it returns the exit status.
func meter(args []string) int {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Print(cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10)
	return 0
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
