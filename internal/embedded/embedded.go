package embedded

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/fsx"
	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/transfer"
)

// Config configures a Redis.
type Config struct {
	// Dir is the folder of the data. Start makes it if it is missing, closed to other users.
	Dir string
	// Server is the path of redis-server; empty: the server runs in this process.
	Server string
	// Schema lists what the journal of a server in this process keeps.
	Schema Schema
	Log    *zap.Logger
	// Failed, if set, is called by goroutines of the Redis when it cannot continue, for example
	// because its folder was removed. It may be called several times.
	Failed func(error)

	adoption time.Duration // how long a redis-server waits for an owner
}

// Redis is a running Redis. Except Kill, its methods are not safe for concurrent use.
type Redis struct {
	url     string
	cfg     Config
	lock    *flock.Flock
	owner   *os.File // locked while this process runs; the keeper checks the lock
	engine  engine
	stop    chan struct{}
	watched func() // waits for watchFolder
}

// engine is the server: a child or a memory.
type engine interface {
	close() error // ends the server and waits
	kill()        // signals a child process to end, and does not wait
}

// The files in the folder of an embedded Redis.
const (
	lockFile    = "lock"
	ownerFile   = "owner"   // locked by the process that owns the folder
	addressFile = "address" // the URL, while it is served
	journalFile = "journal"
	serverLog   = "redis.log"
)

// Start starts the Redis in cfg.Dir with all data that it held. CodeInvalid: another process runs
// it. The program must call KeepIfAsked before.
func Start(ctx context.Context, cfg Config) (*Redis, error) {
	cfg.adoption = cmp.Or(cfg.adoption, adoption)
	if cfg.Failed == nil {
		cfg.Failed = func(error) {}
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make queue folder: %w", err)
	}
	lock := flock.New(filepath.Join(cfg.Dir, lockFile), flock.SetPermissions(0o600))
	r := &Redis{cfg: cfg, stop: make(chan struct{}), lock: lock}
	ok, err := r.lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock queue folder: %w", err)
	}
	if !ok {
		return nil, transfer.Errorf(transfer.CodeInvalid,
			"stop it first, or set another `state:` folder, or use a Redis for both",
			"another transferd%s runs the queue in %s", processText(lock.Path()), cfg.Dir)
	}
	if err := r.start(ctx); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// processText names the process that holds a lock; empty if it is not known.
func processText(lock string) string {
	if pid := fsx.LockHolder(lock); pid != 0 {
		return fmt.Sprintf(" (process %d)", pid)
	}
	return ""
}

// Starting reports whether a process has locked dir for its Redis. If Find does not find the Redis,
// or it does not answer, it is starting or stopping.
func Starting(dir string) bool { return fsx.LockHolder(filepath.Join(dir, lockFile)) != 0 }

func (r *Redis) start(ctx context.Context) (err error) {
	if r.owner, err = own(r.cfg.Dir); err != nil {
		return fmt.Errorf("own queue folder: %w", err)
	}
	socket, err := socketPath(r.cfg.Dir)
	if err != nil {
		return err
	}
	r.url = "unix://" + socket
	if r.engine, err = startEngine(ctx, &r.cfg, socket); err != nil {
		return err
	}
	r.watched = panics.Go(r.watchFolder, r.cfg.Failed)
	return os.WriteFile(filepath.Join(r.cfg.Dir, addressFile), []byte(r.url), 0o600)
}

// folderCheck is how often watchFolder checks the folder.
const folderCheck = time.Second

// watchFolder reports to Failed when the folder was removed or replaced.
func (r *Redis) watchFolder() {
	tick := time.NewTicker(folderCheck)
	defer tick.Stop()
	for {
		select {
		case <-r.stop:
			return
		case <-tick.C:
		}
		held, err := r.owner.Stat()
		if err != nil {
			continue
		}
		there, err := os.Stat(r.owner.Name())
		if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(held, there) {
			r.cfg.Failed(transfer.Errorf(transfer.CodeFailed,
				"start transferd again, with an empty queue; leave its `state:` folder alone while it runs",
				"the folder of the queue, %s, was removed", r.cfg.Dir))
			return
		}
	}
}

func startEngine(ctx context.Context, cfg *Config, socket string) (engine, error) {
	journal := filepath.Join(cfg.Dir, journalFile)
	_, err := os.Stat(journal)
	hasJournal := err == nil
	if cfg.Server != "" && !hasJournal {
		return startChild(ctx, cfg, socket)
	}
	if _, err := os.Stat(filepath.Join(cfg.Dir, "appendonlydir")); err == nil && cfg.Server == "" {
		return nil, transfer.Errorf(transfer.CodeInvalid,
			"install redis-server again, or move the folder away to begin with an empty queue",
			"the queue in %s needs redis-server, which is no longer installed", cfg.Dir)
	}
	if hasJournal && cfg.Server != "" {
		cfg.Log.Info("embedded queue: redis-server not used, the queue has a journal", zap.String("journal", journal))
	}
	return startMemory(journal, socket, cfg)
}

// URL is the address of the Redis: unix:// and the path of its socket.
func (r *Redis) URL() string { return r.url }

// Close ends the Redis and waits for that. All data is on disk.
func (r *Redis) Close() error {
	close(r.stop)
	if r.watched != nil {
		r.watched()
	}
	var err error
	if r.engine != nil {
		err = r.engine.close()
	}
	_ = os.Remove(filepath.Join(r.cfg.Dir, addressFile))
	if r.owner != nil {
		err = errors.Join(err, r.owner.Close())
	}
	return errors.Join(err, r.lock.Unlock())
}

// Kill ends the Redis of a process that is about to exit, so that no child outlives it. It does not
// wait. It may be called at any time, also concurrently; no other method may be called after it.
func (r *Redis) Kill() {
	if r.engine != nil {
		r.engine.kill()
	}
}

// Find returns the URL of the Redis that a process of this user runs in dir. CodeForbidden: dir
// belongs to another user; CodeNotFound: no Redis runs there.
func Find(dir string) (url string, err error) {
	address, err := os.ReadFile(filepath.Join(dir, addressFile))
	switch {
	case errors.Is(err, fs.ErrPermission):
		return "", transfer.Errorf(transfer.CodeForbidden, "become that user (sudo -u), or set another `state:` folder",
			"%s belongs to %s and is closed to other users", dir, ownerOf(dir))
	case err != nil:
		return "", transfer.Errorf(transfer.CodeNotFound, "", "no queue runs in %s", dir)
	}
	return string(address), nil
}

// ownerOf describes the user who owns dir, or the folder above it that is closed to this user.
func ownerOf(dir string) string {
	info, err := os.Stat(dir)
	for ; errors.Is(err, fs.ErrPermission) && dir != filepath.Dir(dir); info, err = os.Stat(dir) {
		dir = filepath.Dir(dir)
	}
	if err != nil {
		return "another user"
	}
	id := strconv.Itoa(int(info.Sys().(*syscall.Stat_t).Uid))
	if u, err := user.LookupId(id); err == nil {
		return "user " + u.Username
	}
	return "the user with ID " + id
}

// maxSocketPath is the longest name of a Unix socket, in bytes (unix(7)).
const maxSocketPath = 107

// socketPath is the socket of the queue in dir. It is in dir, or, if that path is too long, in a
// folder of this user under the system's folder for temporary files. The path depends only on dir,
// so the next transferd finds a redis-server that still runs.
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
		return "", fmt.Errorf("check the folder for the queue's socket: %w", err)
	}
	if st := info.Sys().(*syscall.Stat_t); info.Mode() != fs.ModeDir|0o700 || int(st.Uid) != os.Getuid() {
		return "", transfer.Errorf(transfer.CodeForbidden, "remove it, or set a `state:` folder with a shorter path",
			"%s is not a folder that only this user can reach", short)
	}
	return filepath.Join(short, "redis.sock"), nil
}

const (
	startTimeout = 30 * time.Second
	startPause   = 20 * time.Millisecond
	pingTimeout  = 5 * time.Second
)

var (
	errEnded   = errors.New("redis-server has ended; its log is redis.log in the queue's folder")
	errLoading = errors.New("redis-server is loading its data")
)

// await waits until a server on the socket serves. It fails with errEnded when ended closes or gone
// returns true. There is no time limit while the server loads its data.
func await(ctx context.Context, socket string, ended <-chan struct{}, gone func() bool) error {
	for since := time.Now(); ; {
		err := ping(socket)
		if err == nil && ctx.Err() == nil {
			return nil
		}
		if errors.Is(err, errLoading) {
			since = time.Now()
		}
		select {
		case <-ended:
			return errEnded
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(startPause):
		}
		switch {
		case gone():
			return errEnded
		case time.Since(since) > startTimeout:
			return err
		}
	}
}

// sendCommand sends an inline command to the server on the socket and returns the line that it
// answers.
func sendCommand(socket, command string, timeout time.Duration) (answer string, err error) {
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

// ping fails unless the server on the socket serves commands. A server that loads its data answers
// -LOADING.
func ping(socket string) error {
	answer, err := sendCommand(socket, "PING", pingTimeout)
	switch {
	case err != nil || answer == "+PONG":
		return err
	case strings.HasPrefix(answer, "-LOADING"):
		return errLoading
	}
	return fmt.Errorf("redis-server answers %s", answer)
}
