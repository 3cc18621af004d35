package api

import (
	"context"
	"errors"
	"slices"

	"github.com/transferd/transferd/internal/transfer"
)

// VLAN is a private network between servers.
type VLAN struct {
	UUID string
	Name string
	User string // UUID of the account that owns it
	Keys Object // the complete response
}

func newVLAN(o Object) (VLAN, error) {
	f := fields{Object: o}
	return VLAN{UUID: f.id("resource", vlanKind), Name: o["name"], User: o["user"], Keys: o}, f.err
}

// IP is a static address.
type IP struct {
	Address     string
	Netmask     string
	Gateway     string
	Nameservers []string
	Name        string // may be empty
	User        string // UUID of the account that owns it
	Claimed     string // UUID of the server that uses it; empty: none
	Keys        Object // the complete response
}

func newIP(o Object) (IP, error) {
	f := fields{Object: o}
	return IP{
		Address: f.id("resource", ipKind), Netmask: o["netmask"], Gateway: o["gateway"],
		Nameservers: o.words("nameserver"), Name: o["name"], User: o["user"], Claimed: o["claimed"], Keys: o,
	}, f.err
}

// Resources are the VLANs and static addresses of an account.
type Resources struct {
	VLANs []VLAN
	IPs   []IP
}

// Resources describes all VLANs and static addresses of the account: GET /resources/info (not in
// the manual).
func (c *Client) Resources(ctx context.Context) (r Resources, err error) {
	objects, err := many(ctx, c, resourceKind.infoAll(), func(o Object) (Object, error) { return o, nil })
	for _, o := range objects {
		switch o["type"] {
		case "vlan":
			r.VLANs, err = appendParsed(r.VLANs, o, newVLAN)
		case "ip":
			r.IPs, err = appendParsed(r.IPs, o, newIP)
		}
		if err != nil {
			return r, err
		}
	}
	return r, err
}

func appendParsed[T any](values []T, o Object, parse func(Object) (T, error)) ([]T, error) {
	value, err := parse(o)
	return append(values, value), err
}

// ListResources is the identifiers of all VLANs (UUIDs) and static addresses of the account: GET
// /resources/list (not in the manual).
func (c *Client) ListResources(ctx context.Context) ([]string, error) {
	return c.ids(ctx, resourceKind.list(), lastWords)
}

// ListVLANs is the UUIDs of the account's VLANs: GET /resources/vlan/list (manual 9).
func (c *Client) ListVLANs(ctx context.Context) ([]string, error) {
	return c.ids(ctx, vlanKind.list(), lastWords)
}

// VLANs describes all VLANs of the account: GET /resources/vlan/info (not in the manual; jclouds
// uses it).
func (c *Client) VLANs(ctx context.Context) ([]VLAN, error) {
	return many(ctx, c, vlanKind.infoAll(), newVLAN)
}

// VLAN describes a VLAN: GET /resources/vlan/UUID/info (manual 9).
func (c *Client) VLAN(ctx context.Context, uuid string) (VLAN, error) {
	return one(ctx, c, vlanKind.info(uuid), newVLAN)
}

// CreateVLAN makes a VLAN: POST /resources/vlan/create (manual 9). After a lost response its
// Creation finds the VLAN by its name.
func (c *Client) CreateVLAN(name string) *Creation[VLAN] {
	cmd := vlanKind.post("create VLAN "+name, "resources/vlan/create", Object{"name": name})
	return creation(c, vlanKind, cmd, newVLAN, c.ListVLANs, c.VLAN, func(v *VLAN) bool { return v.Name == name })
}

// RenameVLAN changes the name of a VLAN: POST /resources/vlan/UUID/set (manual 9.4). It returns the
// VLAN after that.
func (c *Client) RenameVLAN(ctx context.Context, uuid, name string) (VLAN, error) {
	cmd := vlanKind.on("rename", uuid, "set", Object{"name": name})
	return changed(ctx, c, cmd, vlanKind.info(uuid), newVLAN)
}

// DestroyVLAN destroys a VLAN: POST /resources/vlan/UUID/destroy (not in the manual; jclouds and
// dasein use it).
func (c *Client) DestroyVLAN(ctx context.Context, uuid string) error {
	return c.act(ctx, vlanKind.on("destroy", uuid, "destroy", nil))
}

// ListIPs is the account's static addresses: GET /resources/ip/list (manual 9).
func (c *Client) ListIPs(ctx context.Context) ([]string, error) {
	return c.ids(ctx, ipKind.list(), lastWords)
}

// IPs describes all static addresses of the account: GET /resources/ip/info (manual 9).
func (c *Client) IPs(ctx context.Context) ([]IP, error) { return many(ctx, c, ipKind.infoAll(), newIP) }

// IP describes a static address: GET /resources/ip/IP/info (not in the manual; jclouds and dasein
// use it).
func (c *Client) IP(ctx context.Context, address string) (IP, error) {
	return one(ctx, c, ipKind.info(address), newIP)
}

// CreateIP gives the account another static address, which costs money: POST /resources/ip/create
// (manual 9.7). After a lost response its Creation finds an address that is new to the account.
func (c *Client) CreateIP() *Creation[IP] {
	cmd := ipKind.post("create IP address", "resources/ip/create", nil)
	m := creation(c, ipKind, cmd, newIP, c.ListIPs, c.ipOf, func(*IP) bool { return true })
	m.send = func(ctx context.Context) (IP, error) {
		ips, err := many(ctx, c, cmd, newIP)
		if i := slices.IndexFunc(ips, func(ip IP) bool { return m.before[ip.Address] == 0 }); i >= 0 {
			return ips[i], err // endpoints have responded with all addresses of the account
		}
		if err == nil {
			err = &transfer.Error{
				Op: cmd.op, Code: transfer.CodeProtocol, Hint: hintNotAPI,
				Err: errors.New("the response has no address that is new to the account"),
			}
		}
		return IP{}, err
	}
	return m
}

// ipOf is IP by a call that the manual has.
func (c *Client) ipOf(ctx context.Context, address string) (IP, error) {
	ips, err := c.IPs(ctx)
	if err != nil {
		return IP{}, err
	}
	if i := slices.IndexFunc(ips, func(ip IP) bool { return ip.Address == address }); i >= 0 {
		return ips[i], nil
	}
	return IP{}, transfer.Errorf(transfer.CodeNotFound, ipKind.missing, "%s is no address of the account", address)
}

// DestroyIP returns a static address to the endpoint: POST /resources/ip/IP/destroy (manual 9.8).
func (c *Client) DestroyIP(ctx context.Context, address string) error {
	return c.act(ctx, ipKind.on("destroy", address, "destroy", nil))
}
