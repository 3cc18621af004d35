package embedded

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// child is a redis-server that this process runs. If it dies it is started again; if this process is killed it lives on,
// and the next transferd takes it over.
type child struct {
	server, dir, socket string
	log                 *zap.Logger
	stop                chan struct{}
	kept                sync.WaitGroup
}

func startChild(ctx context.Context, server, dir, socket string, log *zap.Logger) (engine, error) {
	c := &child{server: server, dir: dir, socket: socket, log: log, stop: make(chan struct{})}
	ended, err := c.adoptOrSpawn(ctx)
	if err != nil {
		return nil, err
	}
	c.kept.Go(func() { c.keep(ended) })
	return c, nil
}

// adoptOrSpawn takes over a redis-server that answers, or starts one. The channel closes when it has ended.
func (c *child) adoptOrSpawn(ctx context.Context) (<-chan struct{}, error) {
	adopted, err := c.adopt(ctx)
	switch {
	case err != nil:
		return nil, err
	case adopted:
		return c.watchAdopted(), nil
	}
	server, ended, err := c.spawn()
	if err != nil {
		return nil, err
	}
	if err := await(ctx, c.socket, ended); err != nil {
		if ctx.Err() != nil { // it is not wanted any more; one that is only slow is taken over by the next transferd
			_ = server.Signal(syscall.SIGTERM)
			<-ended
		}
		return nil, fmt.Errorf("start redis-server: %w", err)
	}
	c.log.Info("embedded queue: redis-server", zap.String("folder", c.dir))
	return ended, nil
}

// adopt waits until a redis-server that listens already answers, or has ended: a second one would write to the same files.
func (c *child) adopt(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for c.listening() {
		err := ping(c.socket)
		if err == nil {
			c.log.Info("embedded queue: a redis-server of an earlier transferd goes on")
			return true, nil
		}
		select {
		case <-ctx.Done():
			return false, fmt.Errorf("take over the redis-server of an earlier transferd: %w", err)
		case <-time.After(startPause):
		}
	}
	return false, nil
}

// listening reports whether a redis-server of ours accepts connections, whatever it answers.
func (c *child) listening() bool {
	conn, err := net.Dial("unix", c.socket)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

func (c *child) spawn() (*os.Process, <-chan struct{}, error) {
	// Only this process's user may reach the socket. Every acknowledged write is on disk, and nothing is ever dropped.
	cmd := exec.Command(c.server, "--port", "0", "--unixsocket", c.socket, "--unixsocketperm", "700", "--dir", c.dir, //nolint:gosec // found on the PATH
		"--appendonly", "yes", "--appendfsync", "always", "--save", "", "--maxmemory-policy", "noeviction",
		"--daemonize", "no", "--logfile", filepath.Join(c.dir, "redis.log"))
	// A Ctrl-C at the terminal is for this process, which stops the child when its jobs have been handed back.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("start redis-server: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	return cmd.Process, ended, nil
}

const adoptedCheck = 2 * time.Second

// watchAdopted notices by asking that a redis-server which is not our child has ended.
func (c *child) watchAdopted() <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-c.stop:
				return
			case <-time.After(adoptedCheck):
			}
			if !c.listening() {
				return
			}
		}
	}()
	return ended
}

const maxRespawnPause = 30 * time.Second

// keep starts redis-server again whenever it has ended, until stop.
func (c *child) keep(ended <-chan struct{}) {
	for pause := startPause; ; {
		select {
		case <-c.stop:
			return
		case <-ended:
		}
		if c.stopping() {
			return
		}
		c.log.Warn("redis-server has ended, starting it again", zap.Duration("pause", pause))
		select {
		case <-c.stop:
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, maxRespawnPause)
		next, err := c.adoptOrSpawn(context.Background())
		if err != nil {
			c.log.Error("redis-server does not start", zap.Error(err))
			continue
		}
		ended = next
	}
}

func (c *child) stopping() bool {
	select {
	case <-c.stop:
		return true
	default:
		return false
	}
}

// close has redis-server write what it holds and end.
func (c *child) close() error {
	close(c.stop)
	c.kept.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if refusal := c.shutdown(); refusal != "" {
		return fmt.Errorf("stop redis-server: it answers %s", refusal)
	}
	for c.listening() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("stop redis-server: it has not ended after %s", startTimeout)
		case <-time.After(startPause):
		}
	}
	return nil
}

// shutdown has redis-server end. It answers only if it refuses.
func (c *child) shutdown() (refusal string) {
	refusal, _ = ask(c.socket, "SHUTDOWN", startTimeout) // an error: it has ended
	return refusal
}
