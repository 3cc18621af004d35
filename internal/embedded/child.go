package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/panics"
)

// child is a redis-server that a keeper runs for this process. If redis-server dies, child starts
// it again. If this process is killed, redis-server keeps running, and the next transferd adopts
// it.
type child struct {
	cfg        *Config
	socket     string
	stop       chan struct{}
	supervised func() // waits for supervise

	mu      sync.Mutex
	process *os.Process // redis-server
}

func startChild(ctx context.Context, cfg *Config, socket string) (engine, error) {
	c := &child{cfg: cfg, socket: socket, stop: make(chan struct{})}
	ended, err := c.adoptOrSpawn(ctx)
	if err != nil {
		return nil, errors.Join(err, c.end())
	}
	c.supervised = panics.Go(func() { c.supervise(ended) }, cfg.Failed)
	return c, nil
}

// adoptOrSpawn adopts a redis-server that answers, or starts one. The channel closes when
// redis-server has ended.
func (c *child) adoptOrSpawn(ctx context.Context) (<-chan struct{}, error) {
	adopted, err := c.adopt(ctx)
	if err != nil {
		return nil, fmt.Errorf("adopt the redis-server of an earlier transferd: %w", err)
	}
	if adopted {
		c.cfg.Log.Info("embedded queue: adopted the redis-server of an earlier transferd")
		return c.watchAdopted(), nil
	}
	ended, err := c.spawn(ctx)
	if err != nil {
		return nil, fmt.Errorf("start redis-server: %w", err)
	}
	c.cfg.Log.Info("embedded queue: redis-server started", zap.String("folder", c.cfg.Dir))
	return ended, nil
}

// adopt waits until a redis-server that already listens answers or has ended: a second one would
// write to the same files.
func (c *child) adopt(ctx context.Context) (bool, error) {
	if !c.listening() {
		return false, nil
	}
	err := await(ctx, c.socket, nil, func() bool { return !c.listening() })
	if errors.Is(err, errEnded) {
		return false, nil
	}
	return err == nil, errors.Join(err, c.identify())
}

// listening reports whether a process accepts connections on the socket.
func (c *child) listening() bool {
	conn, err := net.Dial("unix", c.socket)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// identify finds the process that listens on the socket, so that it can be signaled after the
// socket has been removed.
func (c *child) identify() error {
	pid, err := listener(c.socket)
	if err != nil {
		return fmt.Errorf("find the process of redis-server: %w", err)
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		return fmt.Errorf("find the process of redis-server: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.process = p
	return nil
}

// listener returns the process that listens on a socket (unix(7), SO_PEERCRED).
func listener(socket string) (pid int, err error) {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var peer *unix.Ucred
	if ctlErr := raw.Control(func(fd uintptr) {
		peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); ctlErr != nil || err != nil {
		return 0, errors.Join(ctlErr, err)
	}
	return int(peer.Pid), nil
}

// spawn starts a keeper with a redis-server, and waits until redis-server answers. If it does not,
// spawn ends both.
func (c *child) spawn(ctx context.Context) (<-chan struct{}, error) {
	log, err := os.OpenFile(filepath.Join(c.cfg.Dir, serverLog), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := keeperCommand(c.cfg.Server, c.cfg.Dir, c.socket, c.cfg.adoption)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	panics.Go(func() {
		defer close(ended)
		_ = cmd.Wait()
	}, c.cfg.Failed)
	err = await(ctx, c.socket, ended, func() bool { return false })
	if err == nil {
		err = c.identify()
	}
	if err != nil {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
		return nil, err
	}
	return ended, nil
}

const adoptedCheck = time.Second

// watchAdopted polls for the end of a redis-server that is not a child of this process.
func (c *child) watchAdopted() <-chan struct{} {
	ended := make(chan struct{})
	panics.Go(func() {
		defer close(ended)
		for c.running() {
			select {
			case <-c.stop:
				return
			case <-time.After(adoptedCheck):
			}
		}
	}, c.cfg.Failed)
	return ended
}

// signal sends a signal to redis-server. os.ErrProcessDone: it has ended, or was never started.
func (c *child) signal(s syscall.Signal) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.process == nil {
		return os.ErrProcessDone
	}
	return c.process.Signal(s)
}

func (c *child) running() bool { return !errors.Is(c.signal(0), os.ErrProcessDone) }

const maxRespawnPause = 30 * time.Second

// supervise starts redis-server again whenever it has ended, until stop closes.
func (c *child) supervise(ended <-chan struct{}) {
	for pause := startPause; ; {
		select {
		case <-c.stop:
			return
		case <-ended:
		}
		if c.stopping() {
			return
		}
		c.cfg.Log.Warn("redis-server has ended, starting it again", zap.Duration("pause", pause))
		select {
		case <-c.stop:
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, maxRespawnPause)
		next, err := c.adoptOrSpawn(context.Background())
		if err != nil {
			c.cfg.Log.Error("redis-server not started", zap.Error(err))
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

func (c *child) close() error {
	close(c.stop)
	c.supervised()
	return c.end()
}

// end signals redis-server to end, and kills it if it does not: all acknowledged writes are on
// disk.
func (c *child) end() error {
	c.kill()
	for since := time.Now(); c.running(); time.Sleep(startPause) {
		if time.Since(since) > startTimeout {
			return c.signal(syscall.SIGKILL)
		}
	}
	return nil
}

// kill signals redis-server to end, and does not wait.
func (c *child) kill() { _ = c.signal(syscall.SIGTERM) }
