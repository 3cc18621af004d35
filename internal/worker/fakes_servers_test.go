package worker

import (
	"context"
	"fmt"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// fakeSnapshots is the clones of a fakeOpener's source.
type fakeSnapshots struct {
	image     *memImage // what a clone holds
	ready     int       // number of SnapshotReady calls until a clone is complete
	requested int       // clones, in all
	exist     map[string]bool
	parts     map[string]string // Session.Part with which each clone was requested
	users     []string          // the servers that held the source
	// late is how long after a request whose response is lost the clone is made; 0: before that.
	late time.Duration
}

func (e *fakeOpener) Snapshot(_ context.Context, session *Session, find bool) (Snapshot, error) {
	err := e.opening("snapshot")
	e.mu.Lock()
	defer e.mu.Unlock()
	s := &e.snapshots
	for drive := range s.exist {
		if find && s.parts[drive] == session.Part {
			return Snapshot{drive, true, s.users}, err
		}
	}
	if err != nil && !transfer.MayBeCarriedOut(err) {
		return Snapshot{}, err
	}
	if s.exist == nil {
		s.exist, s.parts = make(map[string]bool), make(map[string]string)
	}
	s.requested++
	drive := fmt.Sprintf("clone-%d", s.requested)
	s.parts[drive] = session.Part
	if err != nil && s.late > 0 {
		time.AfterFunc(s.late, func() {
			e.mu.Lock()
			defer e.mu.Unlock()
			s.exist[drive] = true
		})
		return Snapshot{}, err
	}
	s.exist[drive] = true
	return Snapshot{drive, true, s.users}, err
}

func (e *fakeOpener) SnapshotReady(_ context.Context, _ *Session, drive string) (bool, error) {
	err := e.opening("snapshot ready")
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.snapshots.exist[drive] {
		return false, failure(transfer.CodeNotFound)
	}
	return e.opened["snapshot ready"] > e.snapshots.ready, err
}

func (e *fakeOpener) DestroySnapshots(_ context.Context, s *Session, _ string, _ bool) (n int, err error) {
	if err := e.opening("destroy"); err != nil {
		return 0, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for drive := range e.snapshots.exist {
		if e.snapshots.parts[drive] == s.Part {
			delete(e.snapshots.exist, drive)
			n++
		}
	}
	return n, nil
}

// fakeServer is a server whose system obeys a shutdown after a while.
type fakeServer struct {
	running       bool
	config        string
	obeys         time.Duration // 0: never
	asked         bool          // it shuts down
	notAgain      string
	newAddress    bool
	starts, stops int
}

func (e *fakeOpener) ServerState(_ context.Context, _ *Session, server string) (ServerState, error) {
	if err := e.opening("state"); err != nil {
		return ServerState{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.power[server]
	if s == nil {
		return ServerState{}, failure(transfer.CodeNotFound)
	}
	return ServerState{Running: s.running, Config: s.config, NotAgain: s.notAgain, NewAddress: s.newAddress}, nil
}

func (e *fakeOpener) ShutDown(_ context.Context, _ *Session, server string) error {
	err := e.opening("shutdown")
	if transfer.CodeOf(err) == transfer.CodeRefused {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if s := e.power[server]; s.obeys > 0 && !s.asked {
		s.asked = true
		time.AfterFunc(s.obeys, func() { _ = e.setRunning(server, false) })
	}
	return err
}

func (e *fakeOpener) Stop(_ context.Context, _ *Session, server string) error {
	if err := e.opening("stop"); err != nil {
		return err
	}
	return e.setRunning(server, false)
}

func (e *fakeOpener) Start(_ context.Context, _ *Session, server string) error {
	if err := e.opening("start"); err != nil && transfer.CodeOf(err) != transfer.CodeFenced {
		return err
	}
	return e.setRunning(server, true)
}

// isRunning reports whether a server runs.
func (e *fakeOpener) isRunning(server string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.power[server].running
}

func (e *fakeOpener) setRunning(server string, running bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.power[server]
	if running && !s.running {
		s.starts++
	}
	if !running && s.running {
		s.stops++
	}
	s.running, s.asked = running, false
	return nil
}
