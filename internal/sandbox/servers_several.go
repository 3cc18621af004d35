package sandbox

import (
	"net/http"
	"slices"
	"strings"
)

// serverPrefix begins the keys of an input that name servers.
const serverPrefix = "server:"

// onServers is the handler of a command on the servers that its input names, in "server:N UUID"
// lines. The command gets them, each once, under the lock of the servers; the response has the
// UUIDs of those that it changed. It runs only if all exist (manual 8.5, 8.13, 8.14).
func (s *Server) onServers(command func([]*virtualServer) (changed []*virtualServer, err error)) handler {
	return onNone(func(req *request) (response, error) {
		in, err := req.input()
		if err != nil {
			return response{}, err
		}
		s.servers.mu.Lock()
		defer s.servers.mu.Unlock()
		named, err := s.namedServers(in)
		if err != nil {
			return response{}, err
		}
		changed, err := command(named)
		if err != nil {
			return response{}, err
		}
		return uuidList(changed), nil
	})
}

// namedServers are the servers of an input. The caller holds the lock of the servers.
func (s *Server) namedServers(in object) (named []*virtualServer, err error) {
	var bad object
	for _, p := range in {
		if !strings.HasPrefix(p.key, serverPrefix) {
			continue
		}
		id, _ := parseUUID(p.value)
		v, ok := s.servers.find(id)
		if !ok {
			bad.add("errors:"+p.key, "Server "+p.value+" could not be found.")
		} else if !slices.Contains(named, v) {
			named = append(named, v)
		}
	}
	switch {
	case len(bad) > 0:
		err := invalidInput(in, bad)
		err.status = http.StatusNotFound
		return nil, err
	case len(named) == 0:
		return nil, invalidInput(in, object{{"errors:server:0", "a server is required"}})
	}
	return named, nil
}

// startServers starts those that are stopped: all of them or, after an error, none. The caller
// holds the lock of the servers.
func (s *Server) startServers(named []*virtualServer) (started []*virtualServer, err error) {
	for _, v := range named {
		if v.running() {
			continue
		}
		if err := s.start(v); err != nil {
			for _, v := range started {
				_ = s.stop(v) // the first error is the response
			}
			return nil, err
		}
		started = append(started, v)
	}
	return started, nil
}

// stopServers stops those that run. The caller holds the lock of the servers.
func (s *Server) stopServers(named []*virtualServer) (stopped []*virtualServer, err error) {
	for _, v := range named {
		if !v.running() {
			continue
		}
		if err := s.stop(v); err != nil {
			return nil, err
		}
		stopped = append(stopped, v)
	}
	return stopped, nil
}

// destroyServers destroys all or, if one runs, none. The caller holds the lock of the servers.
func (s *Server) destroyServers(named []*virtualServer) ([]*virtualServer, error) {
	for _, v := range named {
		if err := v.destroyable(); err != nil {
			return nil, err
		}
	}
	for _, v := range named {
		if err := s.destroy(v); err != nil {
			return nil, err
		}
	}
	return named, nil
}
