package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/transferd/transferd/internal/cli"
	"github.com/transferd/transferd/internal/embedded"
	"github.com/transferd/transferd/internal/queue"
	"github.com/transferd/transferd/internal/transfer"
)

// startWorld is a folder for the state, and a config that names a queue of one kind.
func startWorld(t *testing.T, kind string) (state, config string) {
	t.Helper()
	dir := t.TempDir()
	state, config = filepath.Join(dir, "state"), filepath.Join(dir, "config.yaml")
	text := "listen: 127.0.0.1:0\n"
	switch kind {
	case "redis":
		r, err := embedded.Start(t.Context(), embedded.Config{Dir: filepath.Join(dir, "redis"), Schema: queue.Schema{}, Log: zap.NewNop()})
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
		t.Error("redis-server is left behind")
	}
}

// interruptedServe runs a transferd that is told to stop at the nth line of its log, or when it
// takes jobs; 0: before it starts.
func interruptedServe(t *testing.T, config string, line int) error {
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

// TestInterruptedStartIsAStop: a start that a signal interrupts ends without an error, and leaves no
// redis-server behind.
func TestInterruptedStartIsAStop(t *testing.T) {
	for _, kind := range []string{"redis", "embedded", "memory"} {
		t.Run(kind, func(t *testing.T) {
			state, config := startWorld(t, kind)
			for line := range 4 {
				if err := interruptedServe(t, config, line); err != nil {
					t.Errorf("stopped at line %d of its log: %v", line, err)
				}
				wantNoRedis(t, state)
			}
		})
	}
}

// TestInterruptedStartEndsAnAdoptedRedis: this holds for the redis-server of an earlier transferd, too.
func TestInterruptedStartEndsAnAdoptedRedis(t *testing.T) {
	p := startProcess(t, "", nil)
	p.signal(syscall.SIGKILL)
	_ = p.cmd.Wait()
	_, config := startWorld(t, "embedded")
	t.Setenv("TRANSFERD_STATE", p.state)
	if err := interruptedServe(t, config, 0); err != nil {
		t.Error(err)
	}
	wantNoRedis(t, p.state)
}

// TestFailedStartIsAnError if no signal came.
func TestFailedStartIsAnError(t *testing.T) {
	_, config := startWorld(t, "memory")
	if err := os.WriteFile(config, []byte("listen: 127.0.0.1:0\nredis: unix:///nonexistent/redis.sock\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := interruptedServe(t, config, -1); transfer.CodeOf(err) != transfer.CodeUnreachable {
		t.Error(err)
	}
}
