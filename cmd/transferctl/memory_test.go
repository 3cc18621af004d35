package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// TestMemory: the memory of an upload does not depend on the size of the image, here a sparse
// tebibyte. Each chunk in flight takes two chunks of memory, and all the rest, with the ledger and
// Go's runtime, takes 96 MiB.
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
		cmd := exec.Command(filepath.Join(programs, "transferctl"), "upload", image, "a:", "--local",
			"--concurrency", fmt.Sprint(inFlight), "--compression", level)
		cmd.Env = append(os.Environ(), "TRANSFERD_CONFIG="+filepath.Join(dir, "config.yaml"),
			"TRANSFERD_STATE="+filepath.Join(dir, "state"), "SANDBOX_PASSWORD=p")
		if peak := peakOf(t, cmd); peak > bound {
			t.Errorf("compression %s: got %d MiB of memory, want at most %d", level, peak>>20, bound>>20)
		}
	}
}

// asMeter is a variable of the environment. With it the test binary runs the program in its
// arguments and prints the program's peak memory.
const asMeter = "TRANSFERD_TEST_METER"

// peakOf runs a program and returns its peak memory in bytes. A small process starts the program,
// because a process inherits the peak of its parent.
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

// meter runs the program for peakOf and returns an exit status.
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
