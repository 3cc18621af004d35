package sandbox

import (
	"net/http"
	"path/filepath"

	"github.com/google/uuid"
)

// vlan is a private network. The lock of the servers guards its name.
type vlan struct {
	entry
	name string
}

func openVLANs(dir string) (*store[*vlan], error) {
	return openStore(filepath.Join(dir, "vlans"), "vlan", func(_ string, o object) (*vlan, error) {
		name, _ := o.get("name")
		return &vlan{name: name}, nil
	})
}

// description implements entity.
func (v *vlan) description() object { return object{{"name", v.name}} }

// object is the VLAN as responses have it. owner is the UUID of the account.
func (v *vlan) object(owner string) object {
	return object{{"resource", v.id}, {"type", typeVLAN}, {"user", owner}, {"name", v.name}}
}

// vlanObjects are all VLANs, oldest first.
func (s *Server) vlanObjects() (all []object) {
	s.servers.mu.RLock()
	defer s.servers.mu.RUnlock()
	for _, v := range s.vlans.list() {
		all = append(all, v.object(s.account))
	}
	return all
}

// ownVLAN is the VLAN that the path names.
func (s *Server) ownVLAN(req *request) (*vlan, error) {
	return named(s.vlans, kindVLAN, req.parameters["uuid"])
}

// listVLANs handles /resources/vlan/list (manual 9.1).
func (s *Server) listVLANs(*request) (response, error) {
	return response{http.StatusOK, resourceLines(typeVLAN, s.vlans.list())}, nil
}

// infoVLANs handles /resources/vlan/info, which the manual does not have.
func (s *Server) infoVLANs(*request) (response, error) { return textResponse(s.vlanObjects()...), nil }

// infoVLAN handles /resources/vlan/UUID/info (manual 9.2).
func (s *Server) infoVLAN(v *vlan) (response, error) { return textResponse(v.object(s.account)), nil }

// createVLAN handles /resources/vlan/create (manual 9.3).
func (s *Server) createVLAN(req *request) (response, error) {
	in, err := req.input()
	if err != nil {
		return response{}, err
	}
	name, bad := requiredText(in, "name")
	if len(bad) > 0 {
		return response{}, invalidInput(in, bad)
	}
	s.servers.mu.Lock()
	defer s.servers.mu.Unlock()
	v, err := s.newVLAN(name)
	if err != nil {
		return response{}, err
	}
	return s.infoVLAN(v)
}

// newVLAN makes a VLAN. The caller holds the lock of the servers.
func (s *Server) newVLAN(name string) (*vlan, error) {
	v := &vlan{name: name}
	if err := s.vlans.add(uuid.NewString(), v); err != nil {
		return nil, internalError(err)
	}
	return v, nil
}

// setVLAN handles /resources/vlan/UUID/set (manual 9.4).
func (s *Server) setVLAN(in object, v *vlan) (response, error) {
	name, bad := requiredText(in, "name")
	if len(bad) > 0 {
		return response{}, invalidInput(in, bad)
	}
	old := v.name
	v.name = name
	if err := s.vlans.save(v); err != nil {
		v.name = old
		return response{}, internalError(err)
	}
	return s.infoVLAN(v)
}

// destroyVLAN handles /resources/vlan/UUID/destroy, which the manual does not have.
func (s *Server) destroyVLAN(v *vlan) (response, error) {
	if user, ok := s.userOf(v.id, keyVLAN); ok {
		return response{}, busy(kindVLAN, v.id, "server "+user.id+" is in it")
	}
	return discard(s.vlans, v)
}
