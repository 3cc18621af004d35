package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
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
	if os.Getenv(asMeter) != "" {
		return meter(os.Args[1:])
	}
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

// scriptPrograms is the programs that the scripts run, and their Debian packages.
var scriptPrograms = map[string]string{
	"bzip2":        "bzip2",
	"jq":           "jq",
	"mkfs.ext4":    "e2fsprogs",
	"qemu-img":     "qemu-utils",
	"redis-cli":    "redis-tools",
	"redis-server": "redis-server",
	"script":       "bsdutils",
	"setpriv":      "util-linux",
	"xz":           "xz-utils",
	"zip":          "zip",
	"zstd":         "zstd",
}

// TestScripts runs the scripts in testdata, which type commands as users do. Each script has its
// own home folder.
func TestScripts(t *testing.T) {
	for name, pkg := range scriptPrograms {
		if _, err := exec.LookPath(name); err != nil {
			t.Fatalf("%s is missing; Debian's package is %s: %v", name, pkg, err)
		}
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("PROGRAMS", programs)
			e.Setenv("PATH", programs+string(os.PathListSeparator)+e.Getenv("PATH"))
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("TRANSFERD_STATE", filepath.Join(e.WorkDir, "state"))
			e.Setenv("TRANSFERD_CONFIG", filepath.Join(e.WorkDir, "config.yaml"))
			e.Setenv("SANDBOX_PASSWORD", "s3cret")
			return os.WriteFile(filepath.Join(e.WorkDir, "config.yaml"), nil, 0o600)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"daemon": startDaemon, "terminate": stopDaemon, "crash": crashDaemon,
			"sandbox": startSandbox, "redis": startRedis, "image": makeImage, "gpt": makeGPT,
			"same": same, "json": jsonField, "progress": awaitProgress, "let": let, "web": startWeb,
		},
	})
}

// start starts a program in the script's folder and waits for a line on its stderr that contains
// word. It ends with the script at the latest.
func start(ts *testscript.TestScript, word, name string, args ...string) *process {
	cmd := exec.Command(name, args...)
	cmd.Dir = ts.MkAbs(".")
	for _, key := range []string{
		"PATH", "HOME", "TRANSFERD_STATE", "TRANSFERD_CONFIG", "SANDBOX_PASSWORD", "SSL_CERT_FILE", "VENDOR_TOKEN",
	} {
		if value := ts.Getenv(key); value != "" {
			cmd.Env = append(cmd.Env, key+"="+value)
		}
	}
	p, err := startProcess(cmd, word)
	ts.Check(err)
	ts.Defer(func() { _ = p.end(syscall.SIGTERM) })
	return p
}

// daemons is the last transferd of each script, by its folder.
var daemons sync.Map

// startDaemon: daemon [flag...] runs transferd.
func startDaemon(ts *testscript.TestScript, _ bool, args []string) {
	args = append([]string{"--listen", "127.0.0.1:0"}, args...)
	daemons.Store(ts.MkAbs("."), start(ts, "taking jobs", filepath.Join(programs, "transferd"), args...))
}

func lastDaemon(ts *testscript.TestScript) *process {
	p, ok := daemons.Load(ts.MkAbs("."))
	if !ok {
		ts.Fatalf("no daemon was started")
	}
	return p.(*process)
}

// stopDaemon: terminate sends SIGTERM to transferd, and fails unless it exits with 0. The command
// is not called stop, because testscript has a command of that name.
func stopDaemon(ts *testscript.TestScript, _ bool, _ []string) {
	p := lastDaemon(ts)
	if err := p.end(syscall.SIGTERM); err != nil {
		ts.Fatalf("transferd ended with %v:\n%s", err, p.log.String())
	}
}

// crashDaemon: crash kills transferd.
func crashDaemon(ts *testscript.TestScript, _ bool, _ []string) {
	_ = lastDaemon(ts).end(syscall.SIGKILL)
}

// startRedis: redis runs a redis-server and names it in the config.
func startRedis(ts *testscript.TestScript, _ bool, _ []string) {
	socket := ts.MkAbs("redis.sock")
	start(ts, "eady to accept connections", "redis-server",
		"--port", "0", "--unixsocket", socket, "--dir", ts.MkAbs("."), "--appendonly", "yes")
	ts.Check(os.WriteFile(ts.MkAbs("config.yaml"), []byte("redis: unix://"+socket+"\n"), 0o600))
}

// awaitProgress: progress FILE waits until the job whose ID is in FILE has done chunks. It fails if
// the job has ended.
func awaitProgress(ts *testscript.TestScript, _ bool, args []string) {
	watch := exec.Command(filepath.Join(programs, "transferctl"),
		"jobs", "watch", strings.TrimSpace(ts.ReadFile(args[0])), "-o", "jsonl")
	watch.Dir = ts.MkAbs(".")
	for _, key := range []string{"PATH", "HOME", "TRANSFERD_STATE", "TRANSFERD_CONFIG", "SANDBOX_PASSWORD"} {
		watch.Env = append(watch.Env, key+"="+ts.Getenv(key))
	}
	out, err := watch.StdoutPipe()
	ts.Check(err)
	ts.Check(watch.Start())
	events := json.NewDecoder(out)
	var first, job transfer.Job
	for err = events.Decode(&first); err == nil; err = events.Decode(&job) {
		if job.State == transfer.Running && job.Chunks.Done > first.Chunks.Done {
			break
		}
	}
	_ = watch.Process.Kill()
	_ = watch.Wait()
	if job.State != transfer.Running {
		ts.Fatalf("the job is %s with %d chunks done, want running with some", job.State, job.Chunks.Done)
	}
}

// startSandbox: sandbox NAME [flag...] runs another endpoint and adds it to the config.
func startSandbox(ts *testscript.TestScript, _ bool, args []string) {
	name := args[0]
	flags := append([]string{
		"sandbox", "--listen", "127.0.0.1:0", "--data", name, "--user", "ops", "--password", "s3cret",
	}, args[1:]...)
	p := start(ts, "sandbox: http://", filepath.Join(programs, "transferd"), flags...)
	url, _, _ := strings.Cut(strings.TrimPrefix(p.line, "sandbox: "), ",")
	path := ts.MkAbs("config.yaml")
	config := ts.ReadFile(path)
	if !strings.Contains(config, "endpoints:") {
		config += "endpoints:\n"
	}
	config += fmt.Sprintf("  %s: {url: %q, user: ops, password_env: SANDBOX_PASSWORD}\n", name, url)
	ts.Check(os.WriteFile(path, []byte(config), 0o600))
}

// makeImage: image FILE SIZE [OFFSET LENGTH]... makes a sparse file with random bytes at the
// offsets. The bytes are the same in every run.
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
	noise := rand.NewChaCha8(sha256.Sum256([]byte(strings.Join(args, " "))))
	for extents := numbers[1:]; len(extents) > 1; extents = extents[2:] {
		data := make([]byte, extents[1])
		_, _ = noise.Read(data) // never fails
		_, err := f.WriteAt(data, extents[0])
		ts.Check(err)
	}
}

// makeGPT: gpt FILE SIZE makes a sparse file with a partition table by GUID.
func makeGPT(ts *testscript.TestScript, _ bool, args []string) {
	size, err := transfer.ParseSize(args[1])
	ts.Check(err)
	path := ts.MkAbs(args[0])
	ts.Check(os.WriteFile(path, transfertest.GPT(512, size), 0o600))
	ts.Check(os.Truncate(path, size))
}

// same: same FILE FILE fails unless the two hold the same bytes.
func same(ts *testscript.TestScript, neg bool, args []string) {
	a, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	b, err := os.ReadFile(ts.MkAbs(args[1]))
	ts.Check(err)
	if bytes.Equal(a, b) == neg {
		ts.Fatalf("%s (%d bytes) and %s (%d bytes): got equal %t, want %t", args[0], len(a), args[1], len(b), neg, !neg)
	}
}

// let: let NAME FILE sets a variable to what is in the file.
func let(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile(args[1])))
}

// jsonField: json FILE PATH VALUE checks a field, such as chunks.total; VALUE may be *, for any
// that is not empty.
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
		ts.Fatalf("%s: %s is %q, want %q (negated: %t)", args[0], args[1], got, args[2], neg)
	}
}
