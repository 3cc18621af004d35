package program

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/panics"
)

// Signals is what a program does at signals beyond ending its command's context. The zero Signals
// is ready for use. It is safe for concurrent use.
type Signals struct {
	mu   sync.Mutex
	hup  func()
	last []func()
}

// OnReload has SIGHUP call f, one call at a time, and not end the program, unless it is its
// terminal that has closed.
func (s *Signals) OnReload(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hup = f
}

// BeforeExit has f called before a second signal ends the process at once. It must not wait for
// anything.
func (s *Signals) BeforeExit(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = append(s.last, f)
}

// handle takes the process's signals from now on. The context ends with the first that tells it to
// end.
func (s *Signals) handle() context.Context {
	ctx, stop := context.WithCancel(context.Background())
	// A write to a pipe that has no reader any more is an error of the write. Ignored, it would be
	// so for all programs that this one starts, too.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	received := make(chan os.Signal, 8)
	signal.Notify(received, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
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

// closed reports whether there was a terminal that has hung up: then all that can be asked of it is
// EIO.
func (t terminal) closed() bool {
	if t.f == nil {
		return false
	}
	_, err := unix.IoctlGetTermios(int(t.f.Fd()), unix.TCGETS)
	return err != nil
}
