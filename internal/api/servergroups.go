package api

import (
	"context"
	"net/http"
)

// ServerGroup is a named group of servers, as the vendor's web console shows it. No call lists its
// members.
type ServerGroup struct {
	UUID        string
	Name        string
	Description string // may be empty
	Keys        Object // the complete response
}

func newServerGroup(o Object) (ServerGroup, error) {
	f := fields{Object: o}
	return ServerGroup{
		UUID: f.id("uuid", groupKind), Name: o["name"], Description: o["description"], Keys: o,
	}, f.err
}

// ListServerGroups is the UUIDs of the account's server groups: GET /servergroups/list (manual 10).
func (c *Client) ListServerGroups(ctx context.Context) ([]string, error) {
	return c.ids(ctx, groupKind.list(), firstWords)
}

// ServerGroup describes a server group: GET /servergroups/UUID/info (manual 10.5, 10.6).
func (c *Client) ServerGroup(ctx context.Context, uuid string) (ServerGroup, error) {
	return one(ctx, c, groupKind.info(uuid), newServerGroup)
}

// CreateServerGroup makes a server group without members: POST /servergroups/create (manual 10).
// After a lost response its Creation finds the group by its name.
func (c *Client) CreateServerGroup(name string) *Creation[ServerGroup] {
	cmd := groupKind.post("create server group "+name, "servergroups/create", Object{"name": name})
	return creation(c, groupKind, cmd, newServerGroup, c.ListServerGroups, c.ServerGroup,
		func(g *ServerGroup) bool { return g.Name == name })
}

// SetServerGroup changes name and description of a server group: POST /servergroups/UUID/set
// (manual 10.2). It returns the group after that.
func (c *Client) SetServerGroup(ctx context.Context, uuid, name, description string) (ServerGroup, error) {
	cmd := groupKind.on("change", uuid, "set", Object{"name": name, "description": description})
	return changed(ctx, c, cmd, groupKind.info(uuid), newServerGroup)
}

// DestroyServerGroup destroys a server group, and none of its servers: POST
// /servergroups/UUID/destroy (manual 10.3).
func (c *Client) DestroyServerGroup(ctx context.Context, uuid string) error {
	return c.act(ctx, groupKind.on("destroy", uuid, "destroy", nil))
}

// AddToServerGroup adds servers to a group, and returns the UUIDs of all its members: POST
// /servergroups/UUID/add (manual 10). It is idempotent.
func (c *Client) AddToServerGroup(ctx context.Context, uuid string, servers ...string) ([]string, error) {
	return c.setMembers(ctx, "add servers to", uuid, "add", servers)
}

// RemoveFromServerGroup removes servers from a group, and returns the UUIDs of its other members:
// POST /servergroups/UUID/remove (manual 10). It is idempotent.
func (c *Client) RemoveFromServerGroup(ctx context.Context, uuid string, servers ...string) ([]string, error) {
	return c.setMembers(ctx, "remove servers from", uuid, "remove", servers)
}

func (c *Client) setMembers(ctx context.Context, do, uuid, verb string, servers []string) ([]string, error) {
	if err := groupKind.check(uuid); err != nil {
		return nil, err
	}
	return c.onMembers(ctx, groupKind, do+" server group "+uuid, "servergroups/"+uuid+"/"+verb, servers)
}

// StartServerGroup starts all servers of a group, and returns their UUIDs: GET
// /servergroups/UUID/start (manual 10). It is idempotent.
func (c *Client) StartServerGroup(ctx context.Context, uuid string) ([]string, error) {
	return c.actOnGroup(ctx, "start", uuid)
}

// StopServerGroup stops all servers of a group at once, and returns their UUIDs: GET
// /servergroups/UUID/stop (manual 10). It is idempotent.
func (c *Client) StopServerGroup(ctx context.Context, uuid string) ([]string, error) {
	return c.actOnGroup(ctx, "stop", uuid)
}

// actOnGroup starts or stops a group. The manual has GET although that changes something.
func (c *Client) actOnGroup(ctx context.Context, verb, uuid string) ([]string, error) {
	cmd := groupKind.on(verb, uuid, verb, nil)
	cmd.method = http.MethodGet
	return c.ids(ctx, cmd, firstWords)
}
