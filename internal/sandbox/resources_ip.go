package sandbox

import (
	"net/http"
	"net/netip"
	"path/filepath"
	"strconv"
)

// The static addresses (TEST-NET-3 of RFC 5737) have this prefix and a last part in this range.
const (
	staticPrefix      = "203.0.113."
	staticFirst       = 2
	staticLast        = 254
	staticNetmask     = "255.255.255.0"
	staticGateway     = staticPrefix + "1"
	staticNameservers = staticGateway + " " + dynamicPrefix + "1"
)

// staticIP is a static IP address, whose id is the address.
type staticIP struct{ entry }

func openAddresses(dir string) (*store[*staticIP], error) {
	return openStore(filepath.Join(dir, "ips"), "ip", func(string, object) (*staticIP, error) {
		return new(staticIP), nil
	})
}

// description implements entity.
func (*staticIP) description() object { return nil }

// parseIPv4 returns s in its one form, or false if it is no IPv4 address.
func parseIPv4(s string) (string, bool) {
	address, err := netip.ParseAddr(s)
	if err != nil || !address.Is4() {
		return "", false
	}
	return address.String(), true
}

// addressObject is an address as responses have it. The caller holds the lock of the servers.
func (s *Server) addressObject(a *staticIP) object {
	o := object{
		{"resource", a.id}, {"type", typeIP}, {"user", s.account},
		{"netmask", staticNetmask}, {"gateway", staticGateway}, {"nameserver", staticNameservers},
	}
	if user, ok := s.userOf(a.id, keyDHCP, keyVNC); ok {
		o.add("claimed", user.id)
	}
	return o
}

// addressObjects are all addresses, oldest first.
func (s *Server) addressObjects() (all []object) {
	s.servers.mu.RLock()
	defer s.servers.mu.RUnlock()
	for _, a := range s.addresses.list() {
		all = append(all, s.addressObject(a))
	}
	return all
}

// ownAddress is the address that the path names.
func (s *Server) ownAddress(req *request) (*staticIP, error) {
	return named(s.addresses, kindIP, req.parameters["ip"])
}

// listAddresses handles /resources/ip/list (manual 9.5).
func (s *Server) listAddresses(*request) (response, error) {
	return response{http.StatusOK, resourceLines(typeIP, s.addresses.list())}, nil
}

// infoAddresses handles /resources/ip/info (manual 9.6).
func (s *Server) infoAddresses(*request) (response, error) {
	return textResponse(s.addressObjects()...), nil
}

// infoAddress handles /resources/ip/IP/info, which the manual does not have.
func (s *Server) infoAddress(a *staticIP) (response, error) {
	return textResponse(s.addressObject(a)), nil
}

// createAddress handles /resources/ip/create (manual 9.7), which takes no input: the address is the
// first that is free.
func (s *Server) createAddress(*request) (response, error) {
	s.servers.mu.Lock()
	defer s.servers.mu.Unlock()
	a, err := s.newAddress()
	if err != nil {
		return response{}, err
	}
	return s.infoAddress(a)
}

// newAddress makes a static address. The caller holds the lock of the servers.
func (s *Server) newAddress() (*staticIP, error) {
	for last := staticFirst; last <= staticLast; last++ {
		id := staticPrefix + strconv.Itoa(last)
		if _, taken := s.addresses.find(id); taken {
			continue
		}
		a := new(staticIP)
		if err := s.addresses.add(id, a); err != nil {
			return nil, internalError(err)
		}
		return a, nil
	}
	return nil, statusErrorf(http.StatusBadRequest, "system",
		"All static addresses of %s0/24 have been created. Destroy one.", staticPrefix)
}

// destroyAddress handles /resources/ip/IP/destroy and /resources/IP/destroy (manual 9.8).
func (s *Server) destroyAddress(a *staticIP) (response, error) {
	if user, ok := s.userOf(a.id, keyDHCP, keyVNC); ok {
		return response{}, busy(kindIP, a.id, "server "+user.id+" has it")
	}
	return discard(s.addresses, a)
}
