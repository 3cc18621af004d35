package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/embedded"
	"github.com/transferd/transferd/internal/transfertest"
)

// asTransferd makes a process of the test a transferd.
const asTransferd = "TEST_AS_TRANSFERD"

func TestMain(m *testing.M) {
	embedded.KeepIfAsked()
	if os.Getenv(asTransferd) != "" || len(os.Args) > 1 && os.Args[1] == guardName {
		main()
	}
	if text := os.Getenv(leaseVariable); text != "" {
		os.Exit(serveWithLease(text))
	}
	// Where SIGHUP is ignored, as under nohup, the programs that tests start would ignore it, too.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	os.Exit(m.Run())
}

// process is a transferd with a queue of its own.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	state string
	logs  *os.File
	lines *bufio.Scanner
	redis net.Conn // to its redis-server
}

// startProcess starts a transferd with a config, and returns when it takes jobs.
func startProcess(t *testing.T, config string, change func(*exec.Cmd)) *process {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Fatal("redis-server is missing (Debian package redis-server)")
	}
	dir := t.TempDir()
	p := &process{t: t, state: filepath.Join(dir, "state"), cmd: exec.Command("/proc/self/exe")}
	path := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(path, []byte("listen: 127.0.0.1:0\n"+config), 0o600); err != nil {
		t.Fatal(err)
	}
	p.cmd.Env = append(os.Environ(), asTransferd+"=1", "TRANSFERD_STATE="+p.state, "TRANSFERD_CONFIG="+path)
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.logs, p.lines, p.cmd.Stderr = out, bufio.NewScanner(out), in
	if change != nil {
		change(p.cmd)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill(); _ = p.logs.Close() })
	_ = in.Close()
	p.await("taking jobs")
	if p.redis, err = net.Dial("unix", filepath.Join(p.state, "queue", "redis.sock")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.redis.Close() })
	return p
}

// await waits for a line of the log with the message, for a minute at the most.
func (p *process) await(msg string) {
	p.t.Helper()
	if err := p.logs.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		p.t.Fatal(err)
	}
	for p.lines.Scan() {
		var line struct{ Msg string }
		if json.Unmarshal(p.lines.Bytes(), &line) == nil && line.Msg == msg {
			return
		}
	}
	p.t.Fatalf("the log ended before %q: %v", msg, p.lines.Err())
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// ends waits for the end of transferd and then of its redis-server, whose connections end with it.
func (p *process) ends(status int) {
	p.t.Helper()
	go func() { _, _ = io.Copy(io.Discard, p.logs) }()
	if _ = p.cmd.Wait(); p.cmd.ProcessState.ExitCode() != status {
		p.t.Errorf("got %s, want exit status %d", p.cmd.ProcessState, status)
	}
	if err := p.redis.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.redis.Read(make([]byte, 1)); err != io.EOF { //nolint:errorlint // net returns it bare
		p.t.Errorf("got %v from redis-server's connection, want EOF: it is left behind", err)
	}
}

// TestRedisEndsWithTransferd ends transferd in every way to which it or its keeper can react.
func TestRedisEndsWithTransferd(t *testing.T) {
	for name, tc := range map[string]struct {
		end    func(p *process)
		status int
	}{
		"SIGTERM": {func(p *process) { p.signal(syscall.SIGTERM) }, 0},
		// Two different ones: two of one kind at the same time are delivered as one.
		"second signal":  {func(p *process) { p.signal(syscall.SIGINT); p.signal(syscall.SIGTERM) }, 143},
		"folder removed": {func(p *process) { _ = os.RemoveAll(p.state) }, 1},
		"killed, no folder": {func(p *process) {
			p.signal(syscall.SIGKILL)
			_ = p.cmd.Wait() // so that the folder has no owner when it is removed
			_ = os.RemoveAll(p.state)
		}, -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startProcess(t, "", nil)
			tc.end(p)
			p.ends(tc.status)
		})
	}
}

// TestFailedStartLeavesNoRedis starts transferd on an address that is in use.
func TestFailedStartLeavesNoRedis(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	state := filepath.Join(t.TempDir(), "state")
	cmd := exec.Command("/proc/self/exe", "--listen", l.Addr().String())
	cmd.Env = append(os.Environ(), asTransferd+"=1", "TRANSFERD_STATE="+state, "TRANSFERD_CONFIG=/dev/null")
	if out, err := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != 2 {
		t.Errorf("got %v, want exit status 2\n%s", err, out)
	}
	if conn, err := net.Dial("unix", filepath.Join(state, "queue", "redis.sock")); err == nil {
		_ = conn.Close()
		t.Error("got a redis-server that is left behind, want none")
	}
}

// httpStatus is the status of a request to the status API with the token.
func (p *process) httpStatus(address, token string) int {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, "http://"+address+"/jobs", http.NoBody)
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// TestHangupReloads: at SIGHUP transferd fetches credentials again.
func TestHangupReloads(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(token, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const old, renewed = "0123456789abcdef", "fedcba9876543210"
	write(old)
	var address string
	p := startProcess(t, "http: {token_file: "+token+"}\n", func(cmd *exec.Cmd) {
		address = transfertest.FreeAddress(t)
		cmd.Args = append(cmd.Args, "--listen", address)
	})
	for _, step := range []struct {
		write       string
		msg         string
		old, renews int
	}{
		{renewed, "credentials and certificates reloaded", 401, 200},
		{"short", "some credentials not reloaded, the old ones stay", 401, 200},
	} {
		write(step.write)
		p.signal(syscall.SIGHUP)
		p.await(step.msg)
		if got := p.httpStatus(address, old); got != step.old {
			t.Errorf("after %q: got %d with the old token, want %d", step.write, got, step.old)
		}
		if got := p.httpStatus(address, renewed); got != step.renews {
			t.Errorf("after %q: got %d with the new token, want %d", step.write, got, step.renews)
		}
	}
	p.signal(syscall.SIGTERM)
	p.ends(0)
}

// openTerminal opens both sides of a new terminal (pty(7)).
func openTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	master = os.NewFile(uintptr(fd), "ptmx")
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = master.Close(); _ = slave.Close() })
	return master, slave
}

// TestClosedTerminalDrains: transferd drains when its terminal closes; before that SIGHUP reloads.
func TestClosedTerminalDrains(t *testing.T) {
	master, slave := openTerminal(t)
	p := startProcess(t, "", func(cmd *exec.Cmd) {
		cmd.Stdin, cmd.Stdout = slave, slave
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	})
	_ = slave.Close()
	p.signal(syscall.SIGHUP)
	p.await("credentials and certificates reloaded")
	if err := master.Close(); err != nil {
		t.Fatal(err)
	}
	p.await("stopping, releasing jobs")
	p.ends(0)
}

// TestIgnoredHangupStaysIgnored starts transferd with SIGHUP ignored, as nohup does.
func TestIgnoredHangupStaysIgnored(t *testing.T) {
	p := startProcess(t, "", func(cmd *exec.Cmd) {
		cmd.Args = []string{"sh", "-c", `trap "" HUP; exec "` + "/proc/" + fmt.Sprint(os.Getpid()) + `/exe"`}
		cmd.Path, _ = exec.LookPath("sh")
	})
	p.signal(syscall.SIGHUP)
	p.signal(syscall.SIGTERM)
	p.await("stopping, releasing jobs")
	p.ends(0)
}

// TestTransferdOutlivesItsLogReader closes the pipe of its log, as a restart of journald does.
func TestTransferdOutlivesItsLogReader(t *testing.T) {
	address := transfertest.FreeAddress(t)
	p := startProcess(t, "", func(cmd *exec.Cmd) { cmd.Args = append(cmd.Args, "--listen", address) })
	if err := p.logs.Close(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		p.signal(syscall.SIGHUP) // a line is written
		if got := p.httpStatus(address, ""); got != http.StatusOK {
			t.Errorf("got %d, want %d", got, http.StatusOK)
		}
	}
	p.signal(syscall.SIGTERM)
	p.ends(0)
}
