// Package scripts tests the scripts, run as `make` runs them.
package scripts

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// testImage makes an image of 1 MiB in a folder of the test's own.
func testImage(t *testing.T, name string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, bytes.Repeat([]byte("sixteen bytes \n\t"), 1<<16), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// demo is a run of the demo in a process group of its own.
type demo struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines *bufio.Scanner // of its stdout
	alive *os.File       // at its end when no process of the demo is left: each has inherited the other side
	tmp   string
}

func startDemo(t *testing.T, cmd *exec.Cmd) *demo {
	t.Helper()
	d := &demo{t: t, cmd: cmd, tmp: t.TempDir()}
	alive, inherited, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer inherited.Close()
	t.Cleanup(func() { _ = alive.Close() })
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	d.alive, d.lines = alive, bufio.NewScanner(stdout)
	cmd.Stderr, cmd.ExtraFiles = t.Output(), []*os.File{inherited}
	// The toolchain of the Makefile: with another, each run would build the programs again.
	cmd.Env = append(os.Environ(), "TMPDIR="+d.tmp, "GOTOOLCHAIN=auto")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return d
}

// await reads the output up to a line with the prefix.
func (d *demo) await(prefix string) {
	d.t.Helper()
	for d.lines.Scan() {
		if strings.HasPrefix(d.lines.Text(), prefix) {
			return
		}
	}
	d.t.Errorf("the output ended without the line %q", prefix)
}

// end waits until the demo has ended, and checks that it left no process and no file behind.
func (d *demo) end() error {
	d.t.Helper()
	if err := d.alive.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		d.t.Fatal(err)
	}
	if _, err := io.ReadAll(d.alive); err != nil {
		d.t.Errorf("a process is left behind: %v", err)
		_ = syscall.Kill(-d.cmd.Process.Pid, syscall.SIGKILL)
	}
	err := d.cmd.Wait()
	if left, err := os.ReadDir(d.tmp); err != nil || len(left) > 0 {
		d.t.Errorf("got %v, %v in the temporary folder, want nothing", left, err)
	}
	return err
}

func makeDemo(image string) *exec.Cmd {
	cmd := exec.Command("make", "demo", "IMAGE="+image)
	cmd.Dir = ".."
	return cmd
}

// TestDemoTakesAnyPath runs the demo on images whose names have a meaning to make, to the shell or
// to transferctl.
func TestDemoTakesAnyPath(t *testing.T) {
	const name = ` it's "one" (1) $HOME $(shell exit 1) $(x #${y} \ & ; *.img`
	here, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	absolute := testImage(t, name)
	relative, err := filepath.Rel(here, testImage(t, name))
	if err != nil {
		t.Fatal(err)
	}
	dash := exec.Command(filepath.Join(here, "scripts", "demo.sh"), "-a:"+name)
	dash.Dir = filepath.Dir(testImage(t, "-a:"+name))
	for name, cmd := range map[string]*exec.Cmd{
		"absolute": makeDemo(absolute), "relative": makeDemo(relative), "dash and colon": dash,
	} {
		t.Run(name, func(t *testing.T) {
			d := startDemo(t, cmd)
			d.await("equal: ")
			if err := d.end(); err != nil {
				t.Errorf("got %v, want a demo that succeeds", err)
			}
		})
	}
}

// TestInterruptedDemoLeavesNothing interrupts the demo at each of its stages.
func TestInterruptedDemoLeavesNothing(t *testing.T) {
	// Signals that are ignored here, as under nohup, would be ignored by the programs that the test
	// starts, too.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGINT)
	t.Cleanup(func() { signal.Stop(signals) })
	image := testImage(t, "disk.img")
	for stage, image := range map[string]string{
		"start": image, "making": "", "image": image, "started": image, "uploaded": image, "cloned": image,
	} {
		for name, tc := range map[string]struct {
			signal syscall.Signal
			group  bool // as a terminal sends it; else to make alone
		}{
			"interrupt": {syscall.SIGINT, true}, "hangup": {syscall.SIGHUP, true},
			"terminate": {syscall.SIGTERM, false},
		} {
			t.Run(stage+"/"+name, func(t *testing.T) {
				t.Parallel()
				d := startDemo(t, makeDemo(image))
				if stage != "start" {
					d.await(stage)
				}
				pid := d.cmd.Process.Pid
				if tc.group {
					pid = -pid
				}
				if err := syscall.Kill(pid, tc.signal); err != nil {
					t.Error(err)
				}
				_ = syscall.Kill(pid, tc.signal) // a shell and the kernel both send it when a terminal closes
				if err := d.end(); err == nil {
					t.Error("got a demo that succeeds, want one that is interrupted")
				}
			})
		}
	}
}

// fakeApt is a PATH on which apt-get notes in a file that it was called.
func fakeApt(t *testing.T) (path, called string) {
	t.Helper()
	dir := t.TempDir()
	called = filepath.Join(dir, "called")
	script := "#!/bin/sh\n: >'" + called + "'\n"
	if err := os.WriteFile(filepath.Join(dir, "apt-get"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return "PATH=" + dir + ":" + os.Getenv("PATH"), called
}

// TestMissingNeedsAreNamedTogether: each target names all programs and modules that are missing,
// with their packages, and installs none.
func TestMissingNeedsAreNamedTogether(t *testing.T) {
	path, called := fakeApt(t)
	const needs = "_NEEDS=no-such-a=package-a sh=dash python3:no_such_b=package-b python3:json=python3"
	for _, target := range []string{"test", "race", "chaos", "bench-compare", "vuln", "demo", "build", "fuzz"} {
		cmd := exec.Command("make", target)
		for _, list := range []string{"GO", "VULN", "MKFS", "DEMO", "TEST", "RACE", "COMPARE"} {
			cmd.Args = append(cmd.Args, list+needs)
		}
		cmd.Dir, cmd.Env = "..", append(os.Environ(), path)
		out, err := cmd.CombinedOutput()
		if err == nil {
			t.Errorf("make %s: got success, want an error", target)
		}
		for _, want := range []string{
			"missing: no-such-a python3:no_such_b\n", "apt-get install package-a package-b)",
		} {
			if !bytes.Contains(out, []byte(want)) {
				t.Errorf("make %s: got %s, want it to contain %q", target, out, want)
			}
		}
	}
	if _, err := os.Stat(called); err == nil {
		t.Error("got a call of apt-get, want none")
	}
}

// TestPackagesOfMissingNeeds: .ci/run installs each package once, and none of what is there.
func TestPackagesOfMissingNeeds(t *testing.T) {
	for needs, want := range map[string]string{
		"":                                   "",
		"sh=dash python3:json=python3":       "",
		"no-such=a sh=dash":                  "a",
		"python3:no_such=a python3:sys=b":    "a",
		"no-such-a=b python3:no_such=a":      "b a",
		"python3:no_such=a no-such-either=a": "a",
	} {
		cmd := exec.Command("./need.sh", append([]string{"--packages"}, strings.Fields(needs)...)...)
		cmd.Stderr = t.Output()
		if out, err := cmd.Output(); err != nil || string(out) != want+"\n" {
			t.Errorf("%q: got %q, %v, want %q", needs, out, err, want)
		}
	}
}
