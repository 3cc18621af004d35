package sandbox

import "time"

// The values of a server's status key.
const (
	serverActive  = "active"
	serverStopped = "stopped"
	serverImaging = "imaging" // a clone of a server whose drives are being copied
)

// status is the value of the status key.
func (v *virtualServer) status() string {
	if v.running() {
		return serverActive
	}
	for _, d := range v.copies {
		if d.isImaging() {
			return serverImaging
		}
	}
	return serverStopped
}

// onServer runs a command on a server under the lock of the servers.
func (s *Server) onServer(command func(*virtualServer) (response, error)) handler {
	return onObject(s.ownServer, func(_ *request, v *virtualServer) (response, error) {
		s.servers.mu.Lock()
		defer s.servers.mu.Unlock()
		if err := v.exists(); err != nil {
			return response{}, err
		}
		return command(v)
	})
}

// startServer handles /servers/UUID/start (manual 8.11). A server that runs goes on.
func (s *Server) startServer(v *virtualServer) (response, error) {
	if err := s.start(v); err != nil {
		return response{}, err
	}
	return s.showServer(v)
}

// stopServer handles /servers/UUID/stop (manual 8.9): it cuts the power.
func (s *Server) stopServer(v *virtualServer) (response, error) { return noContent, s.stop(v) }

// shutdownServer handles /servers/UUID/shutdown (manual 8.10): the guest gets the signal of the
// power button, and obeys some time later.
func (s *Server) shutdownServer(v *virtualServer) (response, error) {
	if v.running() {
		delay := s.faults.Load().shutdown
		if delay != shutdownTime {
			s.counts.add(faultShutdown)
		}
		v.guest.shutDown(delay)
	}
	return noContent, nil
}

// resetServer handles /servers/UUID/reset, which the manual does not have: the guest boots again,
// and does not obey an earlier shutdown.
func (s *Server) resetServer(v *virtualServer) (response, error) {
	if v.running() {
		v.guest.reset()
	}
	return noContent, nil
}

// start starts v unless it runs: it claims its drives, gets its address, and its guest boots. The
// caller holds the lock of the servers.
func (s *Server) start(v *virtualServer) error {
	if v.running() {
		return nil
	}
	if err := s.allowServer(v); err != nil {
		return err
	}
	address, err := s.servers.chooseAddress(v)
	if err != nil {
		return err
	}
	return s.boot(v, func() error {
		v.started, v.address = time.Now(), address
		return s.servers.save(v)
	})
}

// boot claims the drives of v, runs commit, and starts the guest. After an error v is stopped.
func (s *Server) boot(v *virtualServer, commit func() error) error {
	err := s.beginTask()
	if err != nil {
		return err
	}
	disks, err := s.claimDisks(v)
	if err == nil {
		err = commit()
	}
	if err != nil {
		releaseDisks(disks)
		v.started, v.address = time.Time{}, ""
		s.tasks.Done()
		return err
	}
	v.disks, v.guest = disks, newGuest(disks, s.cfg.GuestWrites)
	go s.run(v, v.guest)
	return nil
}

// stop stops v unless it is stopped: its drives and its address are free then. The caller holds the
// lock of the servers.
func (s *Server) stop(v *virtualServer) error {
	if !v.running() {
		return nil
	}
	started, address := v.started, v.address
	v.started, v.address = time.Time{}, ""
	if err := s.servers.save(v); err != nil {
		v.started, v.address = started, address
		return internalError(err)
	}
	v.guest.end()
	v.guest = nil
	return nil
}

// resume starts the guests of the servers that ran when the data folder was closed. One whose
// drives are not usable any more is stopped.
func (s *Server) resume() error {
	s.servers.mu.Lock()
	defer s.servers.mu.Unlock()
	for _, v := range s.servers.list() {
		if !v.running() || s.boot(v, func() error { return nil }) == nil {
			continue
		}
		if err := s.servers.save(v); err != nil {
			return err
		}
	}
	return nil
}

// powerOff stops v after its guest g has shut down, and reports whether g has ended. Another run
// goes on, and so does a guest that was reset meanwhile, or whose stop cannot be saved.
func (s *Server) powerOff(v *virtualServer, g *guest) (ended bool) {
	s.servers.mu.Lock()
	defer s.servers.mu.Unlock()
	if v.guest != g || !g.shuttingDown {
		return v.guest != g
	}
	g.shuttingDown = false // after an error the next shutdown counts
	return s.stop(v) == nil
}
