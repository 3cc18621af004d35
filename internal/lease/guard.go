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

// Guard ends the connections over which this process writes when it stands still, as after SIGSTOP.
// The kernel keeps them open then, for as long as the process is stopped, and an endpoint may keep
// what came of a body for as long, and store it only when the connection ends: over what others
// have written by then. So a process of its own, which is stopped by nobody, has them too, and
// resets them when it gets no sign of life for a while.
//
// It is safe for concurrent use. A nil Guard watches nothing.
type Guard struct {
	child *exec.Cmd
	conn  *net.UnixConn // one message for each sign of life, with or without a connection
	over  chan struct{} // closed by Close
	wait  func()        // until no more signs of life are sent
}

// beatsPerPatience is how many signs of life are sent in the time after whose silence connections
// are reset.
const beatsPerPatience = 5

// guardFile is the descriptor of the guard's end of the connection.
const guardFile = 3

// StartGuard starts the guard as a command that calls RunGuard. It also gets life, so that this
// process counts as ended only when its connections have been reset.
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
	// What stops or ends this process's group is not for the guard.
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := command.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start guard: %w", err), conn.Close())
	}
	g := &Guard{child: command, conn: conn.(*net.UnixConn), over: make(chan struct{})}
	// Without signs of life the guard ends connections, which costs retries and nothing else.
	g.wait = panics.Go(func() { g.beat(patience / beatsPerPatience) }, func(error) {})
	return g, nil
}

func (g *Guard) beat(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-g.over:
			return
		case <-tick.C:
			_ = g.send(nil) // if the guard has ended, nothing is guarded
		}
	}
}

func (g *Guard) send(rights []byte) error {
	_, _, err := g.conn.WriteMsgUnix([]byte{0}, rights, nil)
	return err
}

// Watch has the guard watch a connection until it is reset.
func (g *Guard) Watch(raw syscall.RawConn) (err error) {
	if g == nil {
		return nil
	}
	controlErr := raw.Control(func(fd uintptr) { err = g.send(unix.UnixRights(int(fd))) })
	return errors.Join(controlErr, err)
}

// Close ends the guard, which resets what is still connected, and waits for that.
func (g *Guard) Close() error {
	if g == nil {
		return nil
	}
	close(g.over)
	g.wait()
	return errors.Join(g.conn.Close(), g.child.Wait())
}

// RunGuard is the guard: it returns when the process that started it has ended, or closed the
// guard.
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
	for w.look() {
	}
	return nil
}

// watched is the connections that a guard has.
type watched struct {
	conn     *net.UnixConn
	patience time.Duration
	alive    time.Duration // when the last sign of life came, by CLOCK_BOOTTIME
	fds      []int
}

// look takes a message, or what is due without one, and reports whether there may be more.
func (w *watched) look() bool {
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
		w.take(rights[:k])
	}
	w.drop()
	return true
}

func (w *watched) take(rights []byte) {
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

// drop closes the connections that are over.
func (w *watched) drop() {
	kept := w.fds[:0]
	for _, fd := range w.fds {
		if info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err == nil && info.State != tcpClose {
			kept = append(kept, fd)
			continue
		}
		_ = unix.Close(fd)
	}
	w.fds = kept
}

// tcpClose is the state of a connection that is over (TCP_CLOSE, linux/tcp.h).
const tcpClose = 7

func (w *watched) reset() {
	for _, fd := range w.fds {
		_ = Reset(fd)
		_ = unix.Close(fd)
	}
	w.fds = nil
}

// Reset ends a connection at once, whoever has it too: the kernel drops what is not sent, and sends
// a reset. It is what connect(2) does with an address of no family.
func Reset(fd int) error {
	none := unix.RawSockaddr{Family: unix.AF_UNSPEC}
	_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&none)), unsafe.Sizeof(none)) //nolint:gosec // there is no other way to pass it
	if errno != 0 {
		return os.NewSyscallError("connect", errno)
	}
	return nil
}
