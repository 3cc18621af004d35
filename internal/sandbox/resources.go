package sandbox

import (
	"net/http"
	"slices"

	"github.com/transferd/transferd/internal/fsx"
)

// The lock of the servers guards VLANs, static addresses and server groups, too: whether one is in
// use depends on servers.

// onLocked is the handler of a command without input on an object. It runs under the lock of the
// servers.
func onLocked[T any](s *Server, find func(*request) (T, error), run func(T) (response, error)) handler {
	return onObject(find, func(req *request, _ T) (response, error) { return runLocked(s, req, find, run) })
}

// onLockedInput is the handler of a command with input on an object. It runs under the lock of the
// servers, which is not held while the input arrives.
func onLockedInput[T any](
	s *Server, find func(*request) (T, error), run func(in object, v T) (response, error),
) handler {
	return onObject(find, func(req *request, _ T) (response, error) {
		in, err := req.input()
		if err != nil {
			return response{}, err
		}
		return runLocked(s, req, find, func(v T) (response, error) { return run(in, v) })
	})
}

func runLocked[T any](
	s *Server, req *request, find func(*request) (T, error), run func(T) (response, error),
) (response, error) {
	s.servers.mu.Lock()
	defer s.servers.mu.Unlock()
	v, err := find(req) // again: it may have been destroyed
	if err != nil {
		return response{}, err
	}
	return run(v)
}

// listResources handles /resources/list, which the manual does not have: VLANs, then addresses.
func (s *Server) listResources(*request) (response, error) {
	text := slices.Concat(resourceLines(typeVLAN, s.vlans.list()), resourceLines(typeIP, s.addresses.list()))
	return response{http.StatusOK, text}, nil
}

// infoResources handles /resources/info, which the manual does not have.
func (s *Server) infoResources(*request) (response, error) {
	return textResponse(slices.Concat(s.vlanObjects(), s.addressObjects())...), nil
}

// The values of a resource's type key, which begin the lines of lists, too.
const (
	typeVLAN = "vlan"
	typeIP   = "ip"
)

// resourceLines is a list of resources, "TYPE ID" a line.
func resourceLines[T entity](kind string, resources []T) (text []byte) {
	for _, v := range resources {
		text = append(text, kind+" "+v.stored().id+"\n"...)
	}
	return text
}

// requiredText is the value of a key that an input must have.
func requiredText(in object, key string) (value string, bad object) {
	value, _ = in.get(key)
	value, why := keyRule{check: anyText, required: true}.checked(value)
	if why != "" {
		bad.add("errors:"+key, why)
	}
	return value, bad
}

// userOf is the server whose keys have the value, false if none has: the one that runs or, if none
// runs, the oldest. The caller holds the lock of the servers.
func (s *Server) userOf(value string, keys ...string) (user *virtualServer, found bool) {
	for _, v := range s.servers.list() {
		for _, key := range keys {
			if has, _ := v.keys.get(key); has == value && (!found || v.running()) {
				user, found = v, true
			}
		}
	}
	return user, found
}

// discard removes an object for good.
func discard[T entity](st *store[T], v T) (response, error) {
	err := st.remove(v)
	if err == nil {
		err = fsx.SyncDir(st.dir)
	}
	if err != nil {
		return response{}, internalError(err)
	}
	return noContent, nil
}
