package sandbox

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// serverGroup is a named group of servers. The lock of the servers guards its fields.
type serverGroup struct {
	entry
	name    string
	text    string   // its description key
	members []string // UUIDs of servers, some of which may be destroyed
}

func openServerGroups(dir string) (*store[*serverGroup], error) {
	return openStore(filepath.Join(dir, "servergroups"), "group", loadServerGroup)
}

// loadServerGroup is the inverse of serverGroup.description.
func loadServerGroup(_ string, o object) (*serverGroup, error) {
	g := new(serverGroup)
	g.name, _ = o.get("name")
	g.text, _ = o.get("description")
	for _, p := range o {
		if strings.HasPrefix(p.key, serverPrefix) {
			g.members = append(g.members, p.value)
		}
	}
	return g, nil
}

// description implements entity.
func (g *serverGroup) description() object {
	o := g.object()
	o.remove("uuid")
	for i, id := range g.members {
		o.add(serverPrefix+strconv.Itoa(i), id)
	}
	return o
}

// object is the group as responses have it.
func (g *serverGroup) object() object {
	o := object{{"uuid", g.id}, {"name", g.name}}
	if g.text != "" {
		o.add("description", g.text)
	}
	return o
}

// ownGroup is the group that the path names.
func (s *Server) ownGroup(req *request) (*serverGroup, error) {
	return named(s.groups, kindGroup, req.parameters["uuid"])
}

// listGroups handles /servergroups/list (manual 10.4).
func (s *Server) listGroups(*request) (response, error) { return uuidList(s.groups.list()), nil }

// infoGroup handles /servergroups/UUID/info (manual 10.5, 10.6).
func (s *Server) infoGroup(g *serverGroup) (response, error) { return textResponse(g.object()), nil }

// createGroup handles /servergroups/create (manual 10.1).
func (s *Server) createGroup(req *request) (response, error) {
	in, err := req.input()
	if err != nil {
		return response{}, err
	}
	g := new(serverGroup)
	if bad := g.apply(in); len(bad) > 0 {
		return response{}, invalidInput(in, bad)
	}
	s.servers.mu.Lock()
	defer s.servers.mu.Unlock()
	if err := s.groups.add(uuid.NewString(), g); err != nil {
		return response{}, internalError(err)
	}
	return s.infoGroup(g)
}

// setGroup handles /servergroups/UUID/set (manual 10.2).
func (s *Server) setGroup(in object, g *serverGroup) (response, error) {
	old := *g
	if bad := g.apply(in); len(bad) > 0 {
		*g = old
		return response{}, invalidInput(in, bad)
	}
	return s.saveGroup(g, old, s.infoGroup)
}

// apply sets the keys of an input, and returns an errors:KEY pair for each bad one.
func (g *serverGroup) apply(in object) (bad object) {
	g.name, bad = requiredText(in, "name")
	if text, ok := in.get("description"); ok && !printable(text) {
		bad.add("errors:description", "must not contain control characters")
	} else if ok {
		g.text = text
	}
	return bad
}

// saveGroup saves g, which was old, and responds with what show returns.
func (s *Server) saveGroup(
	g *serverGroup, old serverGroup, show func(*serverGroup) (response, error),
) (response, error) {
	if err := s.groups.save(g); err != nil {
		*g = old
		return response{}, internalError(err)
	}
	return show(g)
}

// destroyGroup handles /servergroups/UUID/destroy (manual 10.3). The servers stay.
func (s *Server) destroyGroup(g *serverGroup) (response, error) { return discard(s.groups, g) }

// addToGroup handles /servergroups/UUID/add (manual 10.7). A member stays one.
func (s *Server) addToGroup(in object, g *serverGroup) (response, error) {
	return s.changeMembers(in, g, func(members, named []*virtualServer) []*virtualServer {
		for _, v := range named {
			if !slices.Contains(members, v) {
				members = append(members, v)
			}
		}
		return members
	})
}

// removeFromGroup handles /servergroups/UUID/remove (manual 10.8). A server that is no member is no
// error.
func (s *Server) removeFromGroup(in object, g *serverGroup) (response, error) {
	return s.changeMembers(in, g, func(members, named []*virtualServer) []*virtualServer {
		return slices.DeleteFunc(members, func(v *virtualServer) bool { return slices.Contains(named, v) })
	})
}

// changeMembers changes the members of g by the servers that the input names, all of which must
// exist, and responds with the members after it.
func (s *Server) changeMembers(
	in object, g *serverGroup, change func(members, named []*virtualServer) []*virtualServer,
) (response, error) {
	named, err := s.namedServers(in)
	if err != nil {
		return response{}, err
	}
	old := *g
	g.members = nil
	for _, v := range change(s.members(&old), named) {
		g.members = append(g.members, v.id)
	}
	return s.saveGroup(g, old, s.listMembers)
}

// startGroup handles /servergroups/UUID/start (manual 10.9): all members run after it or, after an
// error, those that ran before.
func (s *Server) startGroup(g *serverGroup) (response, error) {
	if _, err := s.startServers(s.members(g)); err != nil {
		return response{}, err
	}
	return s.listMembers(g)
}

// stopGroup handles /servergroups/UUID/stop (manual 10.10).
func (s *Server) stopGroup(g *serverGroup) (response, error) {
	if _, err := s.stopServers(s.members(g)); err != nil {
		return response{}, err
	}
	return s.listMembers(g)
}

func (s *Server) listMembers(g *serverGroup) (response, error) { return uuidList(s.members(g)), nil }

// members are the servers of g that exist, in the order in which they were added. The caller holds
// the lock of the servers.
func (s *Server) members(g *serverGroup) (all []*virtualServer) {
	for _, id := range g.members {
		if v, ok := s.servers.find(id); ok {
			all = append(all, v)
		}
	}
	return all
}
