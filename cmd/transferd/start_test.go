package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/transferd/transferd/internal/cli"
	"github.com/transferd/transferd/internal/embedded"
	"github.com/transferd/transferd/internal/queue"
	"github.com/transferd/transferd/internal/transfer"
)

// startConfig writes a config with a queue of one kind, and returns its path and the state folder.
func startConfig(t *testing.T, kind string) (state, config string) {
	t.Helper()
	dir := t.TempDir()
	state, config = filepath.Join(dir, "state"), filepath.Join(dir, "config.yaml")
	text := "listen: 127.0.0.1:0\n"
	switch kind {
	case "redis":
		r, err := embedded.Start(t.Context(), embedded.Config{
			Dir: filepath.Join(dir, "redis"), Schema: queue.Schema{}, Log: zap.NewNop(),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.Close() })
		text += "redis: " + r.URL() + "\n"
	case "memory":
		t.Setenv("PATH", "/nonexistent")
	}
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TRANSFERD_STATE", state)
	return state, config
}

func wantNoRedis(t *testing.T, state string) {
	t.Helper()
	if conn, err := net.Dial("unix", filepath.Join(state, "queue", "redis.sock")); err == nil {
		_ = conn.Close()
		t.Error("got a redis-server that is left behind, want none")
	}
}

// serveUntilLine runs a transferd until the nth line of its log, or until it takes jobs; 0: not
// even that long.
func serveUntilLine(t *testing.T, config string, line int) error {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	count := 0
	log := zap.New(newLogger(t.Output(), false).Core(), zap.Hooks(func(e zapcore.Entry) error {
		if count++; count == line || e.Message == "taking jobs" {
			stop()
		}
		return nil
	}))
	if line == 0 {
		stop()
	}
	f := &daemonFlags{config: config, queues: []string{transfer.DefaultQueue}, jobs: 1}
	return serve(ctx, f, new(cli.Signals), log)
}

// TestInterruptedStartIsAStop: a start that a signal interrupts ends without an error, and leaves
// no redis-server behind.
func TestInterruptedStartIsAStop(t *testing.T) {
	for _, kind := range []string{"redis", "embedded", "memory"} {
		t.Run(kind, func(t *testing.T) {
			state, config := startConfig(t, kind)
			for line := range 4 {
				if err := serveUntilLine(t, config, line); err != nil {
					t.Errorf("stopped at line %d of its log: got %v, want no error", line, err)
				}
				wantNoRedis(t, state)
			}
		})
	}
}

// TestInterruptedStartLogsNoFailure: nothing in the log of a start that a signal interrupts looks
// like a failure.
func TestInterruptedStartLogsNoFailure(t *testing.T) {
	_, config := startConfig(t, "memory")
	core, logs := observer.New(zapcore.InfoLevel)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	f := &daemonFlags{config: config, queues: []string{transfer.DefaultQueue}, jobs: 1}
	if err := serve(ctx, f, new(cli.Signals), zap.New(core)); err != nil {
		t.Errorf("got %v, want no error", err)
	}
	lines := logs.All()
	if len(lines) == 0 || lines[len(lines)-1].Message != "stopped by a signal during the start" {
		t.Errorf("got the lines %+v, want that it was stopped", lines)
	}
	for _, line := range lines {
		for name, value := range line.ContextMap() {
			if strings.Contains(fmt.Sprint(value), "context canceled") {
				t.Errorf("%s: got %s %v, want no failure", line.Message, name, value)
			}
		}
	}
}

// TestInterruptedStartEndsAnAdoptedRedis: the redis-server of an earlier transferd ends, too.
func TestInterruptedStartEndsAnAdoptedRedis(t *testing.T) {
	p := startProcess(t, "", nil)
	p.signal(syscall.SIGKILL)
	_ = p.cmd.Wait()
	_, config := startConfig(t, "embedded")
	t.Setenv("TRANSFERD_STATE", p.state)
	if err := serveUntilLine(t, config, 0); err != nil {
		t.Errorf("got %v, want no error", err)
	}
	wantNoRedis(t, p.state)
}

// TestFailedStartIsAnError without a signal.
func TestFailedStartIsAnError(t *testing.T) {
	_, config := startConfig(t, "memory")
	text := "listen: 127.0.0.1:0\nredis: unix:///nonexistent/redis.sock\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := serveUntilLine(t, config, -1); transfer.CodeOf(err) != transfer.CodeUnreachable {
		t.Errorf("got %v, want code %q", err, transfer.CodeUnreachable)
	}
}
