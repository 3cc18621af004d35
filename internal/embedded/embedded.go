package embedded

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/transfer"
)

// Config is what Start needs.
type Config struct {
	// Dir is the folder that keeps the data. It is made if it is missing, and only its user can reach it.
	Dir string
	// Server is the path of redis-server; empty: the server runs in this process.
	Server string
	// Schema says what the journal of a server in this process keeps.
	Schema Schema
	Log    *zap.Logger
}

// Redis is a running Redis. Its methods are not safe for concurrent use.
type Redis struct {
	url    string
	lock   *flock.Flock
	engine engine
}

// engine is what serves: a child or this process.
type engine interface{ close() error }

// The files in the folder of an embedded Redis.
const (
	lockFile    = "lock"
	addressFile = "address" // the URL, while it is served
	journalFile = "journal"
)

// Start starts the Redis in cfg.Dir with all data that it held. CodeConflict: another process runs it.
func Start(ctx context.Context, cfg Config) (*Redis, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make queue folder: %w", err)
	}
	r := &Redis{lock: flock.New(filepath.Join(cfg.Dir, lockFile), flock.SetPermissions(0o600))}
	ok, err := r.lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock queue folder: %w", err)
	}
	if !ok {
		return nil, transfer.Errorf(transfer.CodeConflict, "stop it first, or set another `state:` folder, or use a Redis for both", "another transferd runs the queue in %s", cfg.Dir)
	}
	socket, err := socketPath(cfg.Dir)
	if err == nil {
		r.url = "unix://" + socket
		r.engine, err = startEngine(ctx, &cfg, socket)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(cfg.Dir, addressFile), []byte(r.url), 0o600)
	}
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func startEngine(ctx context.Context, cfg *Config, socket string) (engine, error) {
	journal := filepath.Join(cfg.Dir, journalFile)
	_, err := os.Stat(journal)
	hasJournal := err == nil
	if cfg.Server != "" && !hasJournal {
		return startChild(ctx, cfg.Server, cfg.Dir, socket, cfg.Log)
	}
	if _, err := os.Stat(filepath.Join(cfg.Dir, "appendonlydir")); err == nil && cfg.Server == "" {
		return nil, transfer.Errorf(transfer.CodeInvalid, "install redis-server again, or move the folder away to begin with an empty queue",
			"the queue in %s was kept by redis-server, which is not there any more", cfg.Dir)
	}
	if hasJournal && cfg.Server != "" {
		cfg.Log.Info("the queue was begun without redis-server and goes on so", zap.String("journal", journal))
	}
	return startMemory(journal, socket, cfg.Schema, cfg.Log)
}

// URL is how to reach it.
func (r *Redis) URL() string { return r.url }

// Close stops it; its data is on disk.
func (r *Redis) Close() error {
	var err error
	if r.engine != nil {
		err = r.engine.close()
	}
	_ = os.Remove(filepath.Join(filepath.Dir(r.lock.Path()), addressFile))
	return errors.Join(err, r.lock.Unlock())
}

// Find returns the URL of the Redis that a process of this user runs in dir.
func Find(dir string) (url string, ok bool) {
	address, err := os.ReadFile(filepath.Join(dir, addressFile))
	return string(address), err == nil
}

// maxSocketPath is the longest name of a Unix socket, in bytes (unix(7)).
const maxSocketPath = 107

// socketPath is where the queue in dir listens: in dir, or, if that is too long for a socket, in a folder of this user's
// under the system's folder for temporary files, always the same one for dir, where the next transferd finds a
// redis-server that goes on.
func socketPath(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("make path absolute: %w", err)
	}
	socket := filepath.Join(dir, "redis.sock")
	if len(socket) <= maxSocketPath && !strings.ContainsAny(socket, "?#%") {
		return socket, nil
	}
	sum := sha256.Sum256([]byte(dir))
	short := filepath.Join(os.TempDir(), fmt.Sprintf("transferd-%d-%x", os.Getuid(), sum[:8]))
	if err := os.Mkdir(short, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("make a folder for the queue's socket: %w", err)
	}
	info, err := os.Lstat(short)
	if err != nil {
		return "", fmt.Errorf("look at the folder for the queue's socket: %w", err)
	}
	if st := info.Sys().(*syscall.Stat_t); info.Mode() != fs.ModeDir|0o700 || int(st.Uid) != os.Getuid() {
		return "", transfer.Errorf(transfer.CodeForbidden, "remove it, or set a `state:` folder with a shorter path", "%s is not a folder of this user's alone", short)
	}
	return filepath.Join(short, "redis.sock"), nil
}

const (
	startTimeout = 30 * time.Second
	startPause   = 20 * time.Millisecond
	pingTimeout  = 5 * time.Second
)

// await waits until a server on the socket answers; ended closes if it never will.
func await(ctx context.Context, socket string, ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := ping(socket)
		if err == nil && ctx.Err() == nil {
			return nil
		}
		select {
		case <-ended:
			return errors.New("redis-server ended at once; its log is redis.log in the queue's folder")
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(startPause):
		}
	}
}

// ask sends an inline command to the server on the socket and returns the line that it answers.
func ask(socket, command string, timeout time.Duration) (answer string, err error) {
	conn, err := net.DialTimeout("unix", socket, timeout)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, command+"\r\n"); err != nil {
		return "", err
	}
	answer, err = bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(answer), err
}

// ping fails unless the server on the socket serves commands: one that loads its data answers -LOADING.
func ping(socket string) error {
	answer, err := ask(socket, "PING", pingTimeout)
	if err == nil && answer != "+PONG" {
		err = fmt.Errorf("redis-server answers %s", answer)
	}
	return err
}
