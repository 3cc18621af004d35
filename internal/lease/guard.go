package lease

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/panics"
)

// Guard resets the connections over which this process writes when the process is stopped, as by
// SIGSTOP. The kernel keeps the connections of a stopped process open. Meanwhile an endpoint may
// buffer part of a body, and store it only when the connection ends, over what others have written
// by then. The guard is a separate process that shares the connections, and resets them when it
// gets no heartbeats for a while.
//
// It is safe for concurrent use. A nil Guard watches nothing.
type Guard struct {
	child *exec.Cmd
	conn  *net.UnixConn // each message is a heartbeat, with or without a connection
	over  chan struct{} // closed by Close
	wait  func()        // waits for sendHeartbeats
}

// beatsPerPatience is how many heartbeats are sent within patience. The guard resets the
// connections if none arrives within patience.
const beatsPerPatience = 5

// guardFile is the descriptor of the guard's end of the connection.
const guardFile = 3

// StartGuard starts the guard: command must call RunGuard. The guard shares life, so that this
// process counts as ended only after its connections have been reset.
func StartGuard(command *exec.Cmd, patience time.Duration, life *Life) (*Guard, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make socket pair: %w", err)
	}
	own, theirs := os.NewFile(uintptr(pair[0]), "guard"), os.NewFile(uintptr(pair[1]), "guarded")
	defer theirs.Close()
	conn, err := net.FileConn(own)
	if err = errors.Join(err, own.Close()); err != nil {
		return nil, fmt.Errorf("use socket pair: %w", err)
	}
	command.ExtraFiles = []*os.File{theirs}
	if life != nil {
		command.ExtraFiles = append(command.ExtraFiles, life.file)
	}
	// A signal to this process's group must not reach the guard.
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := command.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start guard: %w", err), conn.Close())
	}
	g := &Guard{child: command, conn: conn.(*net.UnixConn), over: make(chan struct{})}
	// Without heartbeats the guard resets connections, which costs only retries.
	g.wait = panics.Go(func() { g.sendHeartbeats(patience / beatsPerPatience) }, func(error) {})
	return g, nil
}

func (g *Guard) sendHeartbeats(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-g.over:
			return
		case <-tick.C:
			_ = g.send(nil) // fails if the guard has ended; then nothing is guarded
		}
	}
}

func (g *Guard) send(rights []byte) error {
	_, _, err := g.conn.WriteMsgUnix([]byte{0}, rights, nil)
	return err
}

// Watch shares a connection with the guard, until the connection ends.
func (g *Guard) Watch(raw syscall.RawConn) (err error) {
	if g == nil {
		return nil
	}
	controlErr := raw.Control(func(fd uintptr) { err = g.send(unix.UnixRights(int(fd))) })
	return errors.Join(controlErr, err)
}

// Close ends the guard, which resets the open connections, and waits for that. A guard that a
// signal has ended is no error: a service manager sends its signal to all processes, and the guard
// does not ignore it in its first moments.
func (g *Guard) Close() error {
	if g == nil {
		return nil
	}
	close(g.over)
	g.wait()
	err := g.conn.Close()
	endErr := g.child.Wait()
	var exit *exec.ExitError
	if errors.As(endErr, &exit) && exit.Sys().(syscall.WaitStatus).Signaled() {
		endErr = nil
	}
	return errors.Join(err, endErr)
}

// RunGuard runs the guard. It returns when the process that started it has ended or has closed the
// guard. Without a heartbeat for patience, it resets the connections.
func RunGuard(patience time.Duration) error {
	conn, err := net.FileConn(os.NewFile(guardFile, "guarded"))
	if err != nil {
		return fmt.Errorf("no process to guard: %w", err)
	}
	defer conn.Close()
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		return errors.New("no process to guard")
	}
	w := &watched{conn: unixConn, patience: patience, alive: Boottime()}
	defer w.reset()
	for w.receive() {
	}
	return nil
}

// watched is the connections that a guard shares.
type watched struct {
	conn     *net.UnixConn
	patience time.Duration
	alive    time.Duration // when the last heartbeat came, by CLOCK_BOOTTIME
	fds      []int
}

// receive waits for one heartbeat, and resets the connections if it is overdue. It returns false
// after the last one.
func (w *watched) receive() bool {
	message, rights := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	if err := w.conn.SetReadDeadline(time.Now().Add(w.patience / beatsPerPatience)); err != nil {
		return false
	}
	n, k, _, _, err := w.conn.ReadMsgUnix(message, rights)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		if Boottime()-w.alive >= w.patience {
			w.reset()
		}
	case err != nil || n == 0:
		return false
	default:
		w.alive = Boottime()
		w.add(rights[:k])
	}
	w.closeEnded()
	return true
}

// add adds the connections of a message.
func (w *watched) add(rights []byte) {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return
	}
	for i := range messages {
		if fds, err := unix.ParseUnixRights(&messages[i]); err == nil {
			w.fds = append(w.fds, fds...)
		}
	}
}

// closeEnded closes the descriptors of connections that have ended.
func (w *watched) closeEnded() {
	open := w.fds[:0]
	for _, fd := range w.fds {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil && info.State != tcpClose {
			open = append(open, fd)
			continue
		}
		_ = unix.Close(fd)
	}
	w.fds = open
}

// tcpClose is the state of a connection that has ended (TCP_CLOSE, linux/tcp.h).
const tcpClose = 7

func (w *watched) reset() {
	for _, fd := range w.fds {
		_ = Reset(fd)
		_ = unix.Close(fd)
	}
	w.fds = nil
}

// Reset ends a connection at once, for every process that shares it: the kernel drops unsent bytes
// and sends a reset. connect(2) with AF_UNSPEC does so.
func Reset(fd int) error {
	none := unix.RawSockaddr{Family: unix.AF_UNSPEC}
	address := unsafe.Pointer(&none) //nolint:gosec // package unix has no sockaddr of AF_UNSPEC
	_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(address), unsafe.Sizeof(none))
	if errno != 0 {
		return os.NewSyscallError("connect", errno)
	}
	return nil
}
