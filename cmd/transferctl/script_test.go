package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/transferd/transferd/internal/transfer"
)

// programs is the folder of the programs under test, built once.
var programs string

// exits runs a command and checks its exit status.
const exits = `#!/bin/sh
want=$1; shift
"$@"; got=$?
[ $got = $want ] || { echo "exit status $got, not $want" >&2; exit 1; }
`

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "transferd-test")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	programs = dir
	build := exec.Command("go", "build", "-o", dir, "../transferctl", "../transferd")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build programs: %v\n%s", err, out)
		return 1
	}
	if err := os.WriteFile(filepath.Join(dir, "exits"), []byte(exits), 0o700); err != nil {
		panic(err)
	}
	return m.Run()
}

// TestScripts runs the programs as users do. Each script has a home of its own.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", programs+string(os.PathListSeparator)+e.Getenv("PATH"))
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("TRANSFERD_STATE", filepath.Join(e.WorkDir, "state"))
			e.Setenv("TRANSFERD_CONFIG", filepath.Join(e.WorkDir, "config.yaml"))
			e.Setenv("SANDBOX_PASSWORD", "s3cret")
			return os.WriteFile(filepath.Join(e.WorkDir, "config.yaml"), nil, 0o600)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"daemon": startDaemon, "sandbox": startSandbox, "image": makeImage, "same": same, "json": jsonField, "readable": readable,
		},
	})
}

// startProcess runs a program for the rest of the script and waits for a line on its stderr that has all of words.
func startProcess(ts *testscript.TestScript, name string, args []string, words ...string) (line string) {
	cmd := exec.Command(filepath.Join(programs, name), args...)
	cmd.Dir = ts.MkAbs(".")
	for _, key := range []string{"PATH", "HOME", "TRANSFERD_STATE", "TRANSFERD_CONFIG", "SANDBOX_PASSWORD"} {
		cmd.Env = append(cmd.Env, key+"="+ts.Getenv(key))
	}
	stderr, err := cmd.StderrPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	lines := bufio.NewScanner(stderr)
	var log bytes.Buffer
	for lines.Scan() {
		fmt.Fprintln(&log, lines.Text())
		if containsAll(lines.Text(), words) {
			line = lines.Text()
			break
		}
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(&log, stderr)
	}()
	ts.Defer(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-drained
		if err := cmd.Wait(); err != nil {
			ts.Logf("%s ended with %v:\n%s", name, err, log.String())
		}
	})
	if line == "" {
		ts.Fatalf("%s did not start:\n%s", name, log.String())
	}
	return line
}

func containsAll(s string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(s, w) {
			return false
		}
	}
	return true
}

// startDaemon: daemon [flag...] runs transferd until the script ends.
func startDaemon(ts *testscript.TestScript, _ bool, args []string) {
	startProcess(ts, "transferd", append([]string{"--listen", "127.0.0.1:0"}, args...), "taking jobs")
}

// startSandbox: sandbox NAME [flag...] runs another endpoint and adds it to the config.
func startSandbox(ts *testscript.TestScript, _ bool, args []string) {
	name := args[0]
	flags := append([]string{"sandbox", "--listen", "127.0.0.1:0", "--data", name, "--user", "ops", "--password", "s3cret"}, args[1:]...)
	line := startProcess(ts, "transferd", flags, "sandbox: http://")
	url, _, _ := strings.Cut(strings.TrimPrefix(line, "sandbox: "), ",")
	path := ts.MkAbs("config.yaml")
	config := ts.ReadFile(path)
	if !strings.Contains(config, "endpoints:") {
		config += "endpoints:\n"
	}
	config += fmt.Sprintf("  %s: {url: %q, user: ops, password_env: SANDBOX_PASSWORD}\n", name, url)
	ts.Check(os.WriteFile(path, []byte(config), 0o600))
}

// makeImage: image FILE SIZE [OFFSET LENGTH]... makes a sparse file with random bytes at the offsets.
func makeImage(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	defer f.Close()
	numbers := make([]int64, len(args)-1)
	for i, s := range args[1:] {
		numbers[i], err = transfer.ParseSize(s)
		ts.Check(err)
	}
	ts.Check(f.Truncate(numbers[0]))
	for places := numbers[1:]; len(places) > 1; places = places[2:] {
		data := make([]byte, places[1])
		_, _ = rand.Read(data)
		_, err := f.WriteAt(data, places[0])
		ts.Check(err)
	}
}

// same: same FILE FILE fails unless the two hold the same bytes.
func same(ts *testscript.TestScript, neg bool, args []string) {
	a, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	b, err := os.ReadFile(ts.MkAbs(args[1]))
	ts.Check(err)
	if bytes.Equal(a, b) == neg {
		ts.Fatalf("%s (%d bytes) and %s (%d bytes): equal is %v", args[0], len(a), args[1], len(b), !neg)
	}
}

// jsonField: json FILE PATH VALUE checks a field, such as chunks.total; VALUE may be *, for any that is not empty.
func jsonField(ts *testscript.TestScript, neg bool, args []string) {
	var v any
	d := json.NewDecoder(strings.NewReader(ts.ReadFile(args[0])))
	d.UseNumber()
	ts.Check(d.Decode(&v))
	for _, key := range strings.Split(args[1], ".") {
		switch at := v.(type) {
		case map[string]any:
			v = at[key]
		case []any:
			i, err := strconv.Atoi(key)
			ts.Check(err)
			v = at[i]
		default:
			ts.Fatalf("%s: there is no %s", args[0], args[1])
		}
	}
	got := fmt.Sprint(v)
	if v == nil {
		got = ""
	}
	if ok := got == args[2] || (args[2] == "*" && got != ""); ok == neg {
		ts.Fatalf("%s: %s is %q", args[0], args[1], got)
	}
}

// readable: readable FILE waits until a FIFO can be opened, that is until its writer has come.
func readable(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Check(f.Close())
}
