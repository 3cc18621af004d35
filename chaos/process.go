package main

import (
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// process is a program that can be ended and started again.
type process struct {
	kind   string
	name   string
	make   func() *exec.Cmd
	ended  func()                           // called when it has ended; may be nil
	errorf func(format string, args ...any) // records an error
	mu     sync.Mutex
	cmd    *exec.Cmd
	gone   chan struct{}
}

// start starts the process. If the process ends by itself, as a transferd does without Redis, it is
// started again.
func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cmd, p.gone = p.make(), make(chan struct{})
	if err := p.cmd.Start(); err != nil {
		p.cmd = nil
		return err
	}
	go p.keep(p.cmd, p.gone)
	return nil
}

const restartPause = 200 * time.Millisecond

func (p *process) keep(cmd *exec.Cmd, gone chan struct{}) {
	_ = cmd.Wait()
	if p.ended != nil {
		p.ended()
	}
	p.mu.Lock()
	wanted := p.cmd == cmd
	p.mu.Unlock()
	close(gone)
	if wanted {
		time.Sleep(restartPause)
		p.mu.Lock()
		wanted = p.cmd == cmd
		p.mu.Unlock()
		if wanted {
			_ = p.start()
		}
	}
}

// endTimeout is how long a process may take to end after a signal: longer than transferd drains.
const endTimeout = 2 * time.Minute

// end signals the process to end and waits for it. It kills a process that does not end.
func (p *process) end(signal syscall.Signal) {
	p.mu.Lock()
	cmd, gone := p.cmd, p.gone
	p.cmd = nil
	p.mu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Signal(signal)
	select {
	case <-gone:
	case <-time.After(endTimeout):
		p.errorf("%s has not ended %s after %s", p.name, endTimeout, signalName(signal))
		_ = cmd.Process.Kill()
		<-gone
	}
}

// stop stops the process with SIGSTOP until heal.
func (p *process) stop() (heal func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	cmd := p.cmd
	if cmd == nil {
		return func() {}
	}
	_ = cmd.Process.Signal(syscall.SIGSTOP)
	return func() { _ = cmd.Process.Signal(syscall.SIGCONT) }
}
