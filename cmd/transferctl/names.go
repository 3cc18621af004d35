package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/transfer"
)

// object is a drive or a server of an endpoint, as an address may name it.
type object struct {
	UUID   string `json:"uuid"`
	Name   string `json:"name"`
	Detail string `json:"detail"` // size or status
}

// objectKind is a kind of object that has names. Names need not be unique.
type objectKind struct {
	noun string // drive
	list func(ctx context.Context, c *api.Client) ([]object, error)
}

var (
	driveObjects = objectKind{"drive", func(ctx context.Context, c *api.Client) ([]object, error) {
		drives, err := c.Drives(ctx)
		return objectsOf(drives, driveObject), err
	}}
	serverObjects = objectKind{"server", func(ctx context.Context, c *api.Client) ([]object, error) {
		servers, err := c.Servers(ctx)
		return objectsOf(servers, serverObject), err
	}}
)

func driveObject(d *api.DriveInfo) object {
	return object{strings.ToLower(d.UUID), d.Name, sizeText(d.Size)}
}
func serverObject(s *api.Server) object { return object{s.UUID, s.Name, s.Status} }

func objectsOf[T any](values []T, objectOf func(*T) object) []object {
	objects := make([]object, len(values))
	for i := range values {
		objects[i] = objectOf(&values[i])
	}
	return objects
}

// endpoint connects to the endpoint of an address: NAME, NAME: or NAME:OBJECT. object is the UUID
// or the name after the colon.
func (a *app) endpoint(ctx context.Context, address string) (c *api.Client, object string, err error) {
	name, object, _ := strings.Cut(address, ":")
	if _, ok := a.cfg.Endpoints[name]; !ok {
		return nil, "", unknownEndpoint(name, a.cfg.EndpointNames())
	}
	c, err = a.opener().Client(ctx, name)
	return c, object, err
}

// wholeEndpoint is like endpoint, for an address that must not name an object.
func (a *app) wholeEndpoint(ctx context.Context, address string) (*api.Client, error) {
	c, object, err := a.endpoint(ctx, address)
	if err == nil && object != "" {
		name, _, _ := strings.Cut(address, ":")
		err = transfer.Errorf(transfer.CodeInvalid, "write "+name+":",
			"%q is more than the name of an endpoint", address)
	}
	return c, err
}

// existing is like endpoint, for an address that must name an object of kind k. It returns the
// object's UUID, and looks it up if the address has the name.
func (a *app) existing(ctx context.Context, k *objectKind, address string) (c *api.Client, uuid string, err error) {
	c, text, err := a.endpoint(ctx, address)
	if err != nil {
		return nil, "", err
	}
	if text == "" {
		return nil, "", transfer.Errorf(transfer.CodeInvalid, fmt.Sprintf(
			"write ENDPOINT:UUID or ENDPOINT:NAME; transferctl %ss list %s lists the %ss", k.noun, address, k.noun),
			"%q has no UUID and no name", address)
	}
	uuid, err = a.uuidOf(ctx, k, c, address)
	return c, uuid, err
}

// uuidOf is the UUID that an address has or, if it has a name, that of the only object of that
// name.
func (a *app) uuidOf(ctx context.Context, k *objectKind, c *api.Client, address string) (string, error) {
	endpoint, name, _ := strings.Cut(address, ":")
	if uuid := strings.ToLower(name); api.ValidUUID(uuid) {
		return uuid, nil
	}
	all, err := retried(ctx, a, func(ctx context.Context) ([]object, error) { return k.list(ctx, c) })
	if err != nil {
		return "", fmt.Errorf("look up the %s named %q: %w", k.noun, name, err)
	}
	a.remember(k, endpoint, all)
	var found []object
	for _, o := range all {
		if o.Name == name {
			found = append(found, o)
		}
	}
	switch len(found) {
	case 1:
		return found[0].UUID, nil
	case 0:
		return "", transfer.Errorf(transfer.CodeNotFound, otherNames(k, all, name),
			"%s has no %s named %q", endpoint, k.noun, name)
	}
	return "", transfer.Errorf(transfer.CodeInvalid, "write the UUID, such as "+endpoint+":"+found[0].UUID,
		"%s has %d %ss named %q: %s", endpoint, len(found), k.noun, name,
		listText(found, func(o object) string { return o.UUID + " (" + o.Detail + ")" }))
}

// otherNames is the hint about a name that no object has.
func otherNames(k *objectKind, all []object, name string) string {
	if len(all) == 0 {
		return "it has no " + k.noun + "s"
	}
	nameOf := func(o object) string {
		if o.Name == "" {
			return o.UUID
		}
		return fmt.Sprintf("%q", o.Name)
	}
	hint := "its " + k.noun + "s are " + listText(all, nameOf)
	for _, o := range all {
		if transfer.Resembles(o.Name, name) {
			return fmt.Sprintf("did you mean %q? %s", o.Name, hint)
		}
	}
	return hint
}

// maxListed is how many objects an error lists at most.
const maxListed = 20

func listText(objects []object, text func(object) string) string {
	var texts []string
	for _, o := range objects[:min(len(objects), maxListed)] {
		texts = append(texts, text(o))
	}
	if more := len(objects) - maxListed; more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(texts, ", ")
}

// withUUID replaces the name of a drive in the address of a job's source or target by its UUID. It
// returns all other addresses as they are.
func (a *app) withUUID(ctx context.Context, address string) (string, error) {
	endpoint, name, _ := strings.Cut(address, ":")
	if _, ok := a.cfg.Endpoints[endpoint]; !ok || name == "" || strings.HasPrefix(name, "//") {
		return address, nil
	}
	if api.ValidUUID(strings.ToLower(name)) {
		return address, nil // without a call: a job may be enqueued while the endpoint is down
	}
	_, uuid, err := a.existing(ctx, &driveObjects, address)
	if transfer.CodeOf(err) == transfer.CodeNotFound {
		err = &transfer.Error{
			Code: transfer.CodeNotFound, Hint: hintOf(err) + "; for a file of this name write ./" + address, Err: err,
		}
	}
	return endpoint + ":" + uuid, err
}
