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

// Signals has what a program does on signals, in addition to canceling the context of its command.
// The zero Signals is ready for use. It is safe for concurrent use.
type Signals struct {
	mu         sync.Mutex
	reload     func() // nil: SIGHUP ends the program
	beforeExit []func()
}

// OnReload makes SIGHUP call f, one call at a time, instead of ending the program. The SIGHUP of a
// terminal that closes still ends it.
func (s *Signals) OnReload(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reload = f
}

// BeforeExit registers f, which is called when a second signal ends the process at once. f must not
// block.
func (s *Signals) BeforeExit(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beforeExit = append(s.beforeExit, f)
}

// handle handles the signals of the process from now on. The first one that ends the program
// cancels the context.
func (s *Signals) handle() context.Context {
	ctx, stop := context.WithCancel(context.Background())
	// A write to a pipe without a reader must return an error. Ignoring SIGPIPE has this effect,
	// too, but child processes would inherit it.
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
			reload, beforeExit := s.actions()
			switch {
			case hup && reload != nil && !terminal.closed():
				reload()
			case !hup && ctx.Err() != nil: // the second one
				for _, f := range beforeExit {
					f()
				}
				os.Exit(128 + int(got.(syscall.Signal))) // the status that shells use
			default:
				stop()
			}
		}
	}, func(error) { stop() })
	return ctx
}

func (s *Signals) actions() (reload func(), beforeExit []func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reload, s.beforeExit
}

// terminal is the controlling terminal of the process.
type terminal struct{ f *os.File } // nil: it had none when it began

func openTerminal() terminal {
	f, err := os.OpenFile("/dev/tty", os.O_RDONLY|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return terminal{}
	}
	return terminal{f}
}

// closed reports whether the process had a terminal that has closed: then every ioctl on it fails
// with EIO.
func (t terminal) closed() bool {
	if t.f == nil {
		return false
	}
	_, err := unix.IoctlGetTermios(int(t.f.Fd()), unix.TCGETS)
	return err != nil
}
