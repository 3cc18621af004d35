package sandbox

import (
	"slices"

	"github.com/google/uuid"
)

// cloneServer handles /servers/UUID/clone (manual 8.3). The new server is stopped. Its drives are
// clones of those of src, and it is imaging until all are copied; drives of the library are not
// cloned. The input may change keys other than devices.
func (s *Server) cloneServer(req *request, src *virtualServer) (response, error) {
	in, err := req.input()
	if err != nil {
		return response{}, err
	}
	in = slices.DeleteFunc(in, func(p pair) bool { return slices.Contains(devices, p.key) })
	s.servers.mu.Lock()
	defer s.servers.mu.Unlock()
	if err := src.exists(); err != nil {
		return response{}, err
	}
	keys, bad := applyServerKeys(src.inherited(), in)
	if len(bad) > 0 {
		return response{}, invalidServer(in, bad)
	}
	copies, err := s.cloneDisks(keys)
	if err != nil {
		return response{}, err
	}
	v := &virtualServer{keys: keys}
	for _, c := range copies {
		v.copies = append(v.copies, c.dst)
	}
	if err := s.servers.add(uuid.NewString(), v); err != nil {
		for _, c := range copies {
			s.dropClone(c)
		}
		return response{}, internalError(err)
	}
	resp, err := s.showServer(v)
	for _, c := range copies {
		s.startCopy(c)
	}
	return resp, err
}

// inherited are the keys that a clone starts with: without those that only one server can have.
func (v *virtualServer) inherited() object {
	keys := slices.Clone(v.keys)
	keys.remove("nic:1:mac")
	for _, key := range []string{keyDHCP, keyVNC} {
		if _, ok := keys.get(key); ok {
			keys.set(key, addressAuto)
		}
	}
	return keys
}

// cloneDisks makes a clone of each of the account's drives in keys, and puts it in the place of the
// drive: all of them or, after an error, none.
func (s *Server) cloneDisks(keys object) (copies []pendingCopy, err error) {
	for i, p := range keys {
		if !slices.Contains(devices, p.key) {
			continue
		}
		c, err := s.cloneInDevice(p.value)
		if err != nil {
			for _, c := range copies {
				s.dropClone(c)
			}
			return nil, inDevice(p.key, p.value, err)
		}
		if c != nil {
			keys[i].value = c.dst.id
			copies = append(copies, *c)
		}
	}
	return copies, nil
}

// cloneInDevice makes a clone of the drive of a UUID, nil if that is one of the library.
func (s *Server) cloneInDevice(id string) (*pendingCopy, error) {
	src, err := s.readableDrive(id)
	if err != nil || src.standard {
		return nil, err
	}
	dst, err := s.newClone(src, src.twin())
	return &pendingCopy{src, dst}, err
}

// twin are the attributes of a clone of d in a clone of its server.
func (d *drive) twin() attributes {
	d.mu.RLock()
	defer d.mu.RUnlock()
	a := d.attrs.inherited()
	a.name, a.claim, a.tags = d.attrs.name, d.attrs.claim, slices.Clone(d.attrs.tags)
	return a
}
