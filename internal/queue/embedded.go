package queue

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/transfer"
)

// Embedded is a queue that transferd brings itself, in a folder that only its user can reach: a redis-server as a child,
// or where there is none, a Redis in this process with a journal.
type Embedded struct {
	options Options
	lock    *flock.Flock
	engine  engine
}

// engine is what serves the queue.
type engine interface{ close() error }

// The files in the folder of an embedded queue.
const (
	lockFile    = "lock"
	addressFile = "address" // the queue's URL, while it is served
	journalFile = "journal"
)

// StartEmbedded brings the queue in dir up, with all jobs that it held. One process at a time may do so.
func StartEmbedded(ctx context.Context, dir string, log *zap.Logger) (*Embedded, error) {
	server, err := exec.LookPath("redis-server")
	if err != nil {
		server = ""
	}
	return startEmbedded(ctx, dir, server, log)
}

// startEmbedded is StartEmbedded with the redis-server given; empty: in this process.
func startEmbedded(ctx context.Context, dir, server string, log *zap.Logger) (*Embedded, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make queue folder: %w", err)
	}
	e := &Embedded{lock: flock.New(filepath.Join(dir, lockFile), flock.SetPermissions(0o600))}
	ok, err := e.lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock queue folder: %w", err)
	}
	if !ok {
		return nil, transfer.Errorf(transfer.CodeConflict, "stop it first, or set another `state:` folder, or use a Redis for both", "another transferd runs the queue in %s", dir)
	}
	socket, err := socketPath(dir)
	if err == nil {
		e.options.URL = "unix://" + socket
		e.engine, err = startEngine(ctx, dir, server, socket, log)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, addressFile), []byte(e.options.URL), 0o600)
	}
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

func startEngine(ctx context.Context, dir, server, socket string, log *zap.Logger) (engine, error) {
	journal := filepath.Join(dir, journalFile)
	_, err := os.Stat(journal)
	hasJournal := err == nil
	if server != "" && !hasJournal {
		return startChild(ctx, server, dir, socket, log)
	}
	if _, err := os.Stat(filepath.Join(dir, "appendonlydir")); err == nil && server == "" {
		return nil, transfer.Errorf(transfer.CodeInvalid, "install redis-server again, or move the folder away to begin with an empty queue",
			"the queue in %s was kept by redis-server, which is not there any more", dir)
	}
	if hasJournal && server != "" {
		log.Info("the queue was begun without redis-server and goes on so", zap.String("journal", journal))
	}
	return startMemory(journal, socket, log)
}

// Options is how to reach the queue.
func (e *Embedded) Options() Options { return e.options }

// Close stops the queue; its jobs are on disk.
func (e *Embedded) Close() error {
	var err error
	if e.engine != nil {
		err = e.engine.close()
	}
	_ = os.Remove(filepath.Join(filepath.Dir(e.lock.Path()), addressFile))
	return errors.Join(err, e.lock.Unlock())
}

// FindEmbedded finds the queue that a transferd of this user keeps in dir.
func FindEmbedded(dir string) (Options, bool) {
	address, err := os.ReadFile(filepath.Join(dir, addressFile))
	if err != nil {
		return Options{}, false
	}
	return Options{URL: string(address)}, true
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
)

// awaitQueue waits until the queue answers, or until ended says that it never will.
func awaitQueue(ctx context.Context, opts Options, ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		c, err := Dial(ctx, opts)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ended:
			return errors.New("redis-server ended at once; its log is redis.log in the queue's folder")
		case <-ctx.Done():
			return err
		case <-time.After(startPause):
		}
	}
}
