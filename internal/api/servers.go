package api

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Server is a virtual server as the endpoint describes it.
type Server struct {
	UUID       string
	Name       string
	User       string   // UUID of the account that owns it
	Status     string   // active, stopped, paused, dumped, dead; `imaging…` while a clone copies its drives
	CPU        int64    // MHz
	SMP        int      // virtual processors; 0: the endpoint chooses
	Mem        int64    // MiB
	Boot       []string // names of devices, in the order in which they are tried
	Devices    []Device // sorted by name
	NICs       []NIC    // sorted by index
	VNC        VNC
	Persistent bool
	Started    time.Time // zero: the response has none
	Received   Traffic
	Sent       Traffic
	Keys       Object // the complete response; it has the password of VNC
}

// Running reports whether the server runs, so that it claims its drives.
func (s *Server) Running() bool { return s.Status == "active" || s.Status == "paused" }

// Device is a drive in a slot of a server.
type Device struct {
	Name  string // ide:0:0 to ide:1:1, scsi:0:0 to scsi:0:7, or block:0 to block:7
	Drive string // UUID
	Media string // disk or cdrom; empty: disk
	Read  Requests
	Write Requests
}

// Requests counts a device's input or output since the server started.
type Requests struct{ Bytes, Requests int64 }

// Traffic counts a server's input or output on its networks since it started.
type Traffic struct{ Bytes, Packets int64 }

// NIC is a network interface of a server.
type NIC struct {
	Index int      // 0: the public network; 1: a VLAN
	Model string   // e1000, rtl8139 or virtio; empty: the endpoint chooses
	DHCP  string   // a static address, or auto; of a running server its address. Empty: none
	VLAN  string   // UUID; empty: none
	MAC   string   // empty: the endpoint chooses
	Block []string // what is blocked, such as tcp/25
}

// VNC is the remote display of a server.
type VNC struct {
	IP       string // a static address, or auto; of a running server its address. Empty: no display
	Password string // at most 8 characters
	TLS      bool
}

// maxVNCPassword is the length of the longest password for VNC, in characters.
const maxVNCPassword = 8

var deviceForm = regexp.MustCompile(`^(ide:[01]:[01]|scsi:0:[0-7]|block:[0-7])$`)

func newServer(o Object) (Server, error) {
	f := fields{Object: o}
	s := Server{
		UUID: f.id("server", serverKind), Name: o["name"], User: o["user"], Status: o["status"],
		CPU: f.integer("cpu"), Mem: f.integer("mem"), Boot: o.words("boot"), Persistent: o["persistent"] == "true",
		VNC:      VNC{o["vnc:ip"], o["vnc:password"], isOn(o["vnc:tls"])},
		Received: Traffic{f.integer("rx"), f.integer("rx:packets")},
		Sent:     Traffic{f.integer("tx"), f.integer("tx:packets")}, Keys: o,
	}
	if o["smp"] != "auto" {
		s.SMP = int(f.integer("smp"))
	}
	if at := f.integer("started"); at > 0 {
		s.Started = time.Unix(at, 0).UTC()
	}
	for key := range o {
		if deviceForm.MatchString(key) && o[key] != "" {
			s.Devices = append(s.Devices, newDevice(&f, key))
		}
	}
	slices.SortFunc(s.Devices, func(a, b Device) int { return strings.Compare(a.Name, b.Name) })
	for i := range maxNICs {
		if n := newNIC(o, i); n.Model != "" || n.DHCP != "" || n.VLAN != "" {
			s.NICs = append(s.NICs, n)
		}
	}
	return s, f.err
}

func newDevice(f *fields, name string) Device {
	return Device{
		Name: name, Drive: f.Object[name], Media: f.Object[name+":media"],
		Read:  Requests{f.integer(name + ":read:bytes"), f.integer(name + ":read:requests")},
		Write: Requests{f.integer(name + ":write:bytes"), f.integer(name + ":write:requests")},
	}
}

// maxNICs is how many network interfaces a server has at most.
const maxNICs = 2

func newNIC(o Object, i int) NIC {
	key := nicKey(i)
	return NIC{
		Index: i, Model: o[key+"model"], DHCP: o[key+"dhcp"], VLAN: o[key+"vlan"], MAC: o[key+"mac"],
		Block: o.words(key + "block"),
	}
}

func nicKey(i int) string { return "nic:" + strconv.Itoa(i) + ":" }

func isOn(value string) bool { return value == "on" || value == "true" }

// ServerOptions describe a new server. Name, CPU and Mem are required.
type ServerOptions struct {
	Name       string
	CPU        int64    // MHz
	SMP        int      // virtual processors; 0: the endpoint chooses
	Mem        int64    // MiB
	Boot       []string // names of devices; empty: the first one
	Devices    []Device
	NICs       []NIC
	VNC        VNC
	Persistent bool
	Start      bool   // start the server at once
	Keys       Object // other keys, such as `use`
}

// object returns the keys and values of o; CodeInvalid if no endpoint would accept them.
func (o *ServerOptions) object() (Object, error) {
	switch {
	case o.Name == "" || o.CPU <= 0 || o.Mem <= 0:
		return nil, invalid("give all three", "a server needs a name, a cpu in MHz and a memory in MiB")
	case utf8.RuneCountInString(o.VNC.Password) > maxVNCPassword:
		hint := "use at most " + strconv.Itoa(maxVNCPassword) + " characters"
		return nil, invalid(hint, "the password for VNC is too long")
	}
	keys := Object{
		"name": o.Name, "cpu": strconv.FormatInt(o.CPU, 10), "mem": strconv.FormatInt(o.Mem, 10), "smp": "auto",
		"status": "stopped",
	}
	maps.Copy(keys, o.Keys)
	if o.SMP > 0 {
		keys["smp"] = strconv.Itoa(o.SMP)
	}
	if o.Start {
		keys["status"] = "active"
	}
	keys.add("boot", strings.Join(o.Boot, " "))
	keys.add("vnc:ip", o.VNC.IP)
	keys.add("vnc:password", o.VNC.Password)
	if o.VNC.TLS {
		keys["vnc:tls"] = "on"
	}
	if o.Persistent {
		keys["persistent"] = "true"
	}
	for _, n := range o.NICs {
		n.addTo(keys)
	}
	for _, d := range o.Devices {
		if !deviceForm.MatchString(d.Name) || !ValidUUID(d.Drive) {
			return nil, invalid(
				"use ide:0:0 to ide:1:1, scsi:0:0 to scsi:0:7 or block:0 to block:7, and the UUID of a drive",
				"device %q cannot hold drive %q", d.Name, d.Drive)
		}
		keys[d.Name] = d.Drive
		keys.add(d.Name+":media", d.Media)
	}
	return keys, nil
}

func (n *NIC) addTo(keys Object) {
	key := nicKey(n.Index)
	keys.add(key+"model", n.Model)
	keys.add(key+"dhcp", n.DHCP)
	keys.add(key+"vlan", n.VLAN)
	keys.add(key+"mac", n.MAC)
	keys.add(key+"block", strings.Join(n.Block, " "))
}

// ListServers is the UUIDs of the account's servers: GET /servers/list (manual 8).
func (c *Client) ListServers(ctx context.Context) ([]string, error) {
	return c.ids(ctx, serverKind.list(), firstWords)
}

// Servers describes all servers of the account: GET /servers/info (manual 8.7).
func (c *Client) Servers(ctx context.Context) ([]Server, error) {
	return many(ctx, c, serverKind.infoAll(), newServer)
}

// Server describes a server: GET /servers/UUID/info (manual 8.6).
func (c *Client) Server(ctx context.Context, uuid string) (Server, error) {
	return one(ctx, c, serverKind.info(uuid), newServer)
}

// CreateServer makes a server: POST /servers/create (manual 8.2). After a lost response its
// Creation finds the server by its name and drives.
func (c *Client) CreateServer(o ServerOptions) *Creation[Server] {
	return c.createServer(&o, "servers/create")
}

// CreateStoppedServer makes a server that does not start on endpoints where others do: POST
// /servers/create/stopped (not in the manual; the parent API has it).
func (c *Client) CreateStoppedServer(o ServerOptions) *Creation[Server] {
	o.Start = false
	return c.createServer(&o, "servers/create/stopped")
}

func (c *Client) createServer(o *ServerOptions, path string) *Creation[Server] {
	keys, err := o.object()
	cmd := serverKind.post("create server "+o.Name, path, keys)
	if err != nil {
		cmd.err = err
	}
	return c.newServers(cmd, func(s *Server) bool {
		for key, value := range keys {
			if (key == "name" || deviceForm.MatchString(key)) && s.Keys[key] != value {
				return false
			}
		}
		return true
	})
}

// CloneServer makes a stopped server with clones of the drives of another: POST /servers/UUID/clone
// (manual 8.3). After a lost response its Creation finds the server by its name.
func (c *Client) CloneServer(uuid, name string) *Creation[Server] {
	cmd := serverKind.on("clone", uuid, "clone", Object{"name": name})
	return c.newServers(cmd, func(s *Server) bool { return s.Name == name })
}

func (c *Client) newServers(cmd command, wanted func(*Server) bool) *Creation[Server] {
	return creation(c, serverKind, cmd, newServer, c.ListServers, c.Server, wanted)
}

// SetServer changes the given keys and no others: POST /servers/UUID/set (manual 8). An empty value
// unsets its key: it detaches a drive. It returns the server after that. Most keys of a running
// server cannot be changed: CodeConflict.
func (c *Client) SetServer(ctx context.Context, uuid string, keys Object) (Server, error) {
	return changed(ctx, c, serverKind.on("change", uuid, "set", keys), serverKind.info(uuid), newServer)
}

// DestroyServer destroys a stopped server, and none of its drives: POST /servers/UUID/destroy
// (manual 8.4).
func (c *Client) DestroyServer(ctx context.Context, uuid string) error {
	return c.act(ctx, serverKind.on("destroy", uuid, "destroy", nil))
}

// StartServer starts a server, and returns it: POST /servers/UUID/start (manual 8.11). It is
// idempotent. A drive that another server holds is CodeConflict.
func (c *Client) StartServer(ctx context.Context, uuid string) (Server, error) {
	return changed(ctx, c, serverKind.on("start", uuid, "start", nil), serverKind.info(uuid), newServer)
}

// StopServer stops a server at once, like a power cut: POST /servers/UUID/stop (manual 8.9). It is
// idempotent.
func (c *Client) StopServer(ctx context.Context, uuid string) error {
	return c.act(ctx, serverKind.on("stop", uuid, "stop", nil))
}

// ShutDownServer asks a server's system to shut down, by ACPI: POST /servers/UUID/shutdown (manual
// 8.10). It does not wait; a system may take long or never obey.
func (c *Client) ShutDownServer(ctx context.Context, uuid string) error {
	return c.act(ctx, serverKind.on("shut down", uuid, "shutdown", nil))
}

// ResetServer restarts a running server at once: POST /servers/UUID/reset (not in the manual;
// jclouds uses it). Each call that is carried out is a restart, so it is not idempotent.
func (c *Client) ResetServer(ctx context.Context, uuid string) error {
	return c.act(ctx, serverKind.on("reset", uuid, "reset", nil))
}

// StartServers starts several servers: POST /servers/start (manual 8.13, 8.14). It returns the
// UUIDs of those that it started; none if the endpoint does not say.
func (c *Client) StartServers(ctx context.Context, uuids ...string) ([]string, error) {
	return c.onMembers(ctx, serverKind, "start servers", "servers/start", uuids)
}

// StopServers stops several servers at once: POST /servers/stop (manual 8.13, 8.14). It returns the
// UUIDs of those that it stopped; none if the endpoint does not say.
func (c *Client) StopServers(ctx context.Context, uuids ...string) ([]string, error) {
	return c.onMembers(ctx, serverKind, "stop servers", "servers/stop", uuids)
}

// DestroyServers destroys several stopped servers, and none of their drives: POST /servers/destroy
// (manual 8.5). It returns the UUIDs of those that it destroyed; none if the endpoint does not say.
func (c *Client) DestroyServers(ctx context.Context, uuids ...string) ([]string, error) {
	return c.onMembers(ctx, serverKind, "destroy servers", "servers/destroy", uuids)
}

// onMembers makes a call about k whose input is servers, and which returns a list of servers.
func (c *Client) onMembers(ctx context.Context, k *kind, op, path string, servers []string) ([]string, error) {
	keys := make(Object, len(servers))
	for i, id := range servers {
		if err := serverKind.check(id); err != nil {
			return nil, err
		}
		keys["server:"+strconv.Itoa(i)] = id
	}
	if len(keys) == 0 {
		return nil, invalid("give the UUID of at least one server", "%s: there is none", op)
	}
	return c.ids(ctx, k.post(op, path, keys), firstWords)
}
