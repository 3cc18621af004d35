package main

import (
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// process is a program that can be ended and started again.
type process struct {
	kind  string
	name  string
	make  func() *exec.Cmd
	ended func() // called when it has
	mu    sync.Mutex
	cmd   *exec.Cmd
	gone  chan struct{}
}

// start starts it again too if it ended by itself, as a transferd does that finds no Redis.
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

func (p *process) end(signal syscall.Signal) {
	p.mu.Lock()
	cmd, gone := p.cmd, p.gone
	p.cmd = nil
	p.mu.Unlock()
	if cmd != nil {
		_ = cmd.Process.Signal(signal)
		<-gone
	}
}

// stop has a process stand still until heal.
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
