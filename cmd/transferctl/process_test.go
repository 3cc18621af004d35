package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// processTimeout is how long a program may take to start or to end. It is much longer than any
// does.
const processTimeout = time.Minute

// process is a program that runs during a test.
type process struct {
	cmd   *exec.Cmd
	line  string // of its log, when it was ready
	log   bytes.Buffer
	ended chan error
}

// startProcess starts cmd and waits for a line of its output that contains word. It fails if the
// program ends before that, or does not print the line in time.
func startProcess(cmd *exec.Cmd, word string) (*process, error) {
	p := &process{cmd: cmd, ended: make(chan error, 1)}
	out, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout = cmd.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	timeout := time.AfterFunc(processTimeout, func() { _ = cmd.Process.Kill() })
	lines := bufio.NewScanner(out)
	for p.line == "" && lines.Scan() {
		fmt.Fprintln(&p.log, lines.Text())
		if strings.Contains(lines.Text(), word) {
			p.line = lines.Text()
		}
	}
	timeout.Stop()
	go func() {
		for lines.Scan() {
			fmt.Fprintln(&p.log, lines.Text())
		}
		p.ended <- cmd.Wait()
	}()
	if p.line == "" {
		_ = p.end(syscall.SIGTERM)
		return nil, fmt.Errorf("%s ended with %v before it printed %q:\n%s",
			cmd, cmd.ProcessState, word, p.log.String())
	}
	return p, nil
}

// end sends a signal, waits for the process to end and returns its error. It may be called again.
// It kills a process that ignores the signal.
func (p *process) end(signal os.Signal) error {
	_ = p.cmd.Process.Signal(signal)
	timeout := time.AfterFunc(processTimeout, func() { _ = p.cmd.Process.Kill() })
	err := <-p.ended
	timeout.Stop()
	p.ended <- err
	return err
}

// sandboxFor runs a sandbox with data in dir until the test ends, and returns its URL. Its user is
// u, the password p.
func sandboxFor(t *testing.T, dir string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(programs, "transferd"), "sandbox",
		"--listen", "127.0.0.1:0", "--data", filepath.Join(dir, "drives"), "--user", "u", "--password", "p")
	p, err := startProcess(cmd, "sandbox: http://")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.end(syscall.SIGTERM) })
	url, _, _ := strings.Cut(strings.TrimPrefix(p.line, "sandbox: "), ",")
	return url
}
