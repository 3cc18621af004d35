package cli

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/panics"
)

// Signals is what a program does on signals in addition to ending its command's context. The zero Signals
// is ready for use. It is safe for concurrent use.
type Signals struct {
	mu   sync.Mutex
	hup  func()
	last []func()
}

// OnReload makes SIGHUP call f, one call at a time, instead of ending the program. SIGHUP from a
// terminal that has closed still ends it.
func (s *Signals) OnReload(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hup = f
}

// BeforeExit registers f, which is called before a second signal ends the process at once. f must
// not block.
func (s *Signals) BeforeExit(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = append(s.last, f)
}

// handle handles the process's signals from now on. The context ends with the first signal to end.
func (s *Signals) handle() context.Context {
	ctx, stop := context.WithCancel(context.Background())
	// A write to a pipe without a reader must be an error of the write. Ignoring SIGPIPE would do
	// that too, but programs that this one starts would inherit it.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	received := make(chan os.Signal, 8)
	signal.Notify(received, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // nohup ignores it
		signal.Notify(received, syscall.SIGHUP)
	}
	terminal := openTerminal()
	panics.Go(func() {
		for got := range received {
			hup := got == syscall.SIGHUP
			reload, last := s.actions()
			switch {
			case hup && reload != nil && !terminal.closed():
				reload()
			case !hup && ctx.Err() != nil: // the second one
				for _, f := range last {
					f()
				}
				os.Exit(128 + int(got.(syscall.Signal))) // as shells have it
			default:
				stop()
			}
		}
	}, func(error) { stop() })
	return ctx
}

func (s *Signals) actions() (reload func(), last []func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hup, s.last
}

// terminal is the controlling terminal that the process has, or had.
type terminal struct{ f *os.File } // nil: there was none

func openTerminal() terminal {
	f, err := os.OpenFile("/dev/tty", os.O_RDONLY|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return terminal{}
	}
	return terminal{f}
}

// closed reports whether there was a terminal that has hung up: then every ioctl on it fails with
// EIO.
func (t terminal) closed() bool {
	if t.f == nil {
		return false
	}
	_, err := unix.IoctlGetTermios(int(t.f.Fd()), unix.TCGETS)
	return err != nil
}
