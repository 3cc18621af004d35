package lease

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestMain also runs as the process whose end the tests observe, and as a guard.
func TestMain(m *testing.M) {
	if os.Getenv("LEASE_TEST_GUARD") != "" {
		if err := RunGuard(guardPatience); err != nil {
			panic(err)
		}
		return
	}
	dir := os.Getenv("LEASE_TEST_DIR")
	if dir == "" {
		os.Exit(m.Run())
	}
	if _, err := OpenLife(dir, "child"); err != nil {
		panic(err)
	}
	os.Stdout.WriteString("locked\n")
	_, _ = io.Copy(io.Discard, os.Stdin) // until the test kills this process, or ends
}

func life(t *testing.T, dir, name string) *Life {
	t.Helper()
	l, err := OpenLife(dir, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestKilledProcessHasEnded(t *testing.T) {
	dir := t.TempDir()
	l := life(t, dir, "own")
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), "LEASE_TEST_DIR="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := child.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "locked\n" {
		t.Fatalf("got the output %q (%v), want locked", line, err)
	}
	if l.Ended(l.Boot(), "child") {
		t.Error("a running process: got ended")
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	if !l.Ended(l.Boot(), "child") {
		t.Error("a killed process: got not ended")
	}
	if l.Ended("another boot", "child") || l.Ended("", "child") {
		t.Error("a process of another boot: got ended")
	}
}

func TestUnknownProcessIsNotProvenToHaveEnded(t *testing.T) {
	l := life(t, t.TempDir(), "own")
	var none *Life
	if l.Ended(l.Boot(), "never seen") || l.Ended(l.Boot(), "own") || none.Ended(none.Boot(), "own") {
		t.Error("got ended without a proof")
	}
}

func TestOldLocksAreRemoved(t *testing.T) {
	dir := t.TempDir()
	old := life(t, dir, "old")
	held := life(t, dir, "held")
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	ago := time.Now().Add(-2 * fileTTL)
	for _, name := range []string{"old", "held"} {
		if err := os.Chtimes(old.path(name), ago, ago); err != nil {
			t.Fatal(err)
		}
	}
	life(t, dir, "new")
	left, err := filepath.Glob(filepath.Join(dir, "*.lock"))
	if err != nil || len(left) != 2 || held.Ended(held.Boot(), "held") {
		t.Errorf("got the files %v (%v), want those of held and new", left, err)
	}
}
