package embedded

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/panics"
)

// The keeper is a process between transferd and its redis-server. A transferd that is killed cannot
// end its redis-server, which the next transferd may adopt, but which must not run forever. So a
// second process of this program, the keeper, is the parent of redis-server. It ends redis-server
// when no transferd has owned the folder for 5 minutes, or at once if the folder was removed.
//
// The owner of the folder holds a shared lock of a file in it; the kernel releases the lock when
// the owner ends. The keeper tries to take an exclusive lock of the same file.

// keeperName is the name of the keeper's process. It is not transferd, so that killing all
// processes of that name does not kill the keeper.
const keeperName = "queue-keeper"

const (
	// ownerCheck is how often the keeper checks whether the folder has an owner.
	ownerCheck = time.Second
	// adoption is how long a redis-server without an owner waits for the next one.
	adoption = 5 * time.Minute
)

// keeperCommand runs a keeper with a redis-server in dir. The keeper has a session of its own, so
// signals of transferd's terminal do not reach it.
func keeperCommand(server, dir, socket string, wait time.Duration) *exec.Cmd {
	return &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{keeperName, server, socket, wait.String()}, Dir: dir,
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
}

// KeepIfAsked runs the keeper and exits, if this process was started as a keeper. A program that
// calls Start must call it before anything else.
func KeepIfAsked() {
	const args = 4
	if os.Args[0] != keeperName || len(os.Args) != args {
		return
	}
	wait, err := time.ParseDuration(os.Args[3])
	if err == nil {
		err = runKeeper(os.Args[1], os.Args[2], wait)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", keeperName, err) // redis.log
		os.Exit(1)
	}
	os.Exit(0)
}

// runKeeper runs redis-server in this process's folder until it ends.
func runKeeper(server, socket string, wait time.Duration) error {
	_ = os.WriteFile("/proc/self/comm", []byte(keeperName), 0) // the default is "exe"
	owner, err := os.Open(ownerFile)
	if err != nil {
		return fmt.Errorf("open owner's lock: %w", err)
	}
	terminate := make(chan os.Signal, 1)
	signal.Notify(terminate, syscall.SIGTERM)
	// redis-server gets a signal when this process ends in any way. For the kernel the parent is
	// the thread that started redis-server, so this goroutine keeps its thread until then.
	runtime.LockOSThread()
	cmd := serverCommand(server, socket)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start redis-server: %w", err)
	}
	k := &keeper{owner: owner, wait: wait, terminate: terminate, process: cmd.Process}
	panics.Go(k.watch, func(err error) { fmt.Fprintf(os.Stderr, "%s: %v\n", keeperName, err) })
	return cmd.Wait()
}

// serverCommand runs redis-server in this process's folder. Only this process's user can reach the
// socket. redis-server syncs each write before it acknowledges it, and evicts no key.
func serverCommand(server, socket string) *exec.Cmd {
	return exec.Command(server, "--port", "0", //nolint:gosec // found on the PATH
		"--unixsocket", socket, "--unixsocketperm", "700", "--dir", ".",
		"--appendonly", "yes", "--appendfsync", "always", "--save", "", "--maxmemory-policy", "noeviction",
		"--daemonize", "no", "--logfile", serverLog)
}

type keeper struct {
	owner     *os.File      // the file that the owner of the folder locks
	wait      time.Duration // for the next owner
	terminate <-chan os.Signal
	process   *os.Process // redis-server
}

// watch signals redis-server to end when the wait for an owner is over, and repeats the signal
// until redis-server has ended: at the second signal redis-server stops loading or saving.
func (k *keeper) watch() {
	tick := time.NewTicker(ownerCheck)
	defer tick.Stop()
	for alone := time.Duration(0); ; {
		select {
		case <-k.terminate:
			_ = k.process.Signal(syscall.SIGTERM)
			continue
		case <-tick.C:
		}
		if !k.lock() {
			alone = 0
			continue
		}
		if alone += ownerCheck; alone < k.wait && !k.folderGone() {
			_ = unix.Flock(int(k.owner.Fd()), unix.LOCK_UN)
			continue
		}
		// The keeper holds the lock, so the next owner waits until redis-server has ended.
		_ = k.process.Signal(syscall.SIGTERM)
	}
}

// lock takes the lock if the folder has no owner, and reports whether it did.
func (k *keeper) lock() bool {
	return unix.Flock(int(k.owner.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
}

func (k *keeper) folderGone() bool {
	info, err := k.owner.Stat()
	return err == nil && info.Sys().(*syscall.Stat_t).Nlink == 0
}

// own takes the owner's lock of the folder, which the keeper checks. It waits while a keeper ends
// its redis-server.
func own(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, ownerFile), os.O_RDONLY|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_SH)
		switch {
		case err == nil:
			return f, nil
		case !errors.Is(err, unix.EINTR):
			return nil, errors.Join(&os.PathError{Op: "flock", Path: f.Name(), Err: err}, f.Close())
		}
	}
}
