package sandbox

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"github.com/transferd/transferd/internal/fsx"
)

// listServers handles /servers/list: oldest first.
func (s *Server) listServers(*request) (response, error) { return uuidList(s.servers.list()), nil }

// infoServers handles /servers/info (manual 8.7).
func (s *Server) infoServers(*request) (response, error) {
	s.servers.mu.RLock()
	defer s.servers.mu.RUnlock()
	var all []object
	for _, v := range s.servers.list() {
		if !v.gone {
			all = append(all, v.object(s.account))
		}
	}
	return textResponse(all...), nil
}

// ownServer is the server that the path names.
func (s *Server) ownServer(req *request) (*virtualServer, error) {
	return named(s.servers.store, kindServer, req.parameters["uuid"])
}

// infoServer handles /servers/UUID/info (manual 8.6).
func (s *Server) infoServer(_ *request, v *virtualServer) (response, error) {
	s.servers.mu.RLock()
	defer s.servers.mu.RUnlock()
	return s.showServer(v)
}

// showServer is the response with one server. The caller holds the lock of the servers.
func (s *Server) showServer(v *virtualServer) (response, error) {
	if err := v.exists(); err != nil {
		return response{}, err
	}
	return textResponse(v.object(s.account)), nil
}

// object is the server as responses have it. owner is the UUID of the account.
func (v *virtualServer) object(owner string) object {
	o := object{{"server", v.id}, {"user", owner}, {"status", v.status()}}
	for _, p := range withDefaults(v.keys) {
		if (p.key == keyDHCP || p.key == keyVNC) && p.value == addressAuto && v.running() {
			p.value = v.address
		}
		o.add(p.key, p.value)
	}
	if v.running() {
		o.add("started", strconv.FormatInt(v.started.Unix(), 10))
	}
	v.counters(&o)
	return o
}

// createServer handles /servers/create (manual 8.2). The server is stopped unless the input has
// status active.
func (s *Server) createServer(req *request) (response, error) {
	in, err := req.input()
	if err != nil {
		return response{}, err
	}
	state, _ := in.get("status")
	return s.addServer(in, state)
}

// createStopped handles /servers/create/stopped, which is the parent API's.
func (s *Server) createStopped(req *request) (response, error) {
	in, err := req.input()
	if err != nil {
		return response{}, err
	}
	return s.addServer(in, serverStopped)
}

// addServer makes the server of an input, and starts it if state is active.
func (s *Server) addServer(in object, state string) (response, error) {
	keys, bad := applyServerKeys(nil, in)
	bad = append(bad, missingServerKeys(in)...)
	bad = append(bad, s.badDrives(keys, in)...)
	if state != "" {
		if _, why := oneOf(serverActive, serverStopped)(state); why != "" {
			bad.add("errors:status", why)
		}
	}
	if len(bad) > 0 {
		return response{}, invalidServer(in, bad)
	}
	s.servers.mu.Lock()
	defer s.servers.mu.Unlock()
	v := &virtualServer{keys: keys}
	if err := s.allowStopped(v); err != nil {
		return response{}, err
	}
	if err := s.servers.add(uuid.NewString(), v); err != nil {
		return response{}, internalError(err)
	}
	if state == serverActive {
		if err := s.start(v); err != nil {
			_ = s.destroy(v) // the first error is the response
			return response{}, err
		}
	}
	return s.showServer(v)
}

// setServer handles /servers/UUID/set (manual 8.8): it changes the keys of the input. While the
// server runs its hardware cannot change.
func (s *Server) setServer(req *request, v *virtualServer) (response, error) {
	in, err := req.input()
	if err != nil {
		return response{}, err
	}
	s.servers.mu.Lock()
	defer s.servers.mu.Unlock()
	if err := v.exists(); err != nil {
		return response{}, err
	}
	keys, bad := applyServerKeys(v.keys, v.restoreAuto(in))
	bad = append(bad, s.badDrives(keys, in)...)
	if len(s.servers.encode(&virtualServer{keys: keys})) > maxMeta {
		bad.add("errors:system", "the server has too many or too long keys")
	}
	if len(bad) > 0 {
		return response{}, invalidServer(in, bad)
	}
	if bad := hardwareChanges(v.keys, keys); v.running() && len(bad) > 0 {
		err := invalidServer(in, bad)
		err.status = http.StatusConflict
		return response{}, err
	}
	old := v.keys
	v.keys = keys
	if err := s.servers.save(v); err != nil {
		v.keys = old
		return response{}, internalError(err)
	}
	return s.showServer(v)
}

// restoreAuto is an input whose addresses that stand for auto are auto again: clients send back
// what info showed.
func (v *virtualServer) restoreAuto(in object) object {
	in = slices.Clone(in)
	for i, p := range in {
		stored, _ := v.keys.get(p.key)
		if (p.key == keyDHCP || p.key == keyVNC) && stored == addressAuto && p.value == v.address && p.value != "" {
			in[i].value = addressAuto
		}
	}
	return in
}

// invalidServer is invalidInput without the password of the input.
func invalidServer(in, bad object) *statusError {
	in = slices.Clone(in)
	in.remove(keyPassword)
	return invalidInput(in, bad)
}

// destroyServer handles /servers/UUID/destroy (manual 8.4). Its drives stay.
func (s *Server) destroyServer(_ *request, v *virtualServer) (response, error) {
	s.servers.mu.Lock()
	defer s.servers.mu.Unlock()
	if err := v.destroyable(); err != nil {
		return response{}, err
	}
	return noContent, s.destroy(v)
}

func (v *virtualServer) destroyable() error {
	if err := v.exists(); err != nil {
		return err
	}
	if v.running() {
		return busy(kindServer, v.id, "it is running, stop it first")
	}
	return nil
}

// destroy removes v, which is stopped. The caller holds the lock of the servers.
func (s *Server) destroy(v *virtualServer) error {
	if err := s.servers.remove(v); err != nil {
		return internalError(err)
	}
	v.gone = true
	if err := fsx.SyncDir(s.servers.dir); err != nil {
		return internalError(err)
	}
	return nil
}
