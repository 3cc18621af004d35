package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"

	"github.com/transferd/transferd/internal/transfer"
)

// kind is a kind of object that commands are about.
type kind struct {
	name    string               // "server"
	path    string               // the beginning of its commands' paths: "servers"
	valid   func(id string) bool // reports whether an object may have this identifier
	missing string               // what the user can do if there is no such object
	busy    string               // what the user can do if the object is busy
}

var (
	driveKind = &kind{
		"drive", "drives", ValidUUID, "transferctl drives list shows the existing drives",
		"the drive is busy: being cloned, or in use by a running server",
	}
	serverKind = &kind{
		"server", "servers", ValidUUID, "transferctl servers list shows the existing servers",
		"stop the server first, or the one that holds its drive",
	}
	vlanKind = &kind{
		"VLAN", "resources/vlan", ValidUUID, "transferctl api resources vlan list shows the existing VLANs",
		"detach the VLAN from its servers first",
	}
	ipKind = &kind{
		"IP address", "resources/ip", validAddress, "transferctl api resources ip list shows the existing addresses",
		"detach the address from its server first",
	}
	resourceKind = &kind{name: "resource", path: "resources"}
	groupKind    = &kind{
		"server group", "servergroups", ValidUUID,
		"transferctl api servergroups list shows the existing server groups", "",
	}
	subscriptionKind = &kind{
		"subscription", "subscriptions", ValidUUID,
		"transferctl api subscriptions list shows the existing subscriptions", "",
	}
	accountKind = &kind{name: "account"}
)

func validAddress(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Zone() == ""
}

// command is a call whose input and output are text.
type command struct {
	op     string // for messages: "stop server X"
	method string
	path   string // without leading slash
	input  []byte // nil: none
	about  *kind  // what the call is about
	// lone says that the call reads and names no object, so that only an endpoint without the
	// command responds with 404.
	lone   bool
	data   bool         // input and response are data of a drive, not text
	header *http.Header // is set to the header of the response; may be nil
	err    error        // why the command cannot be sent
}

// read is a command that describes or lists all objects.
func (k *kind) read(op, path string) command {
	return command{op: op, method: http.MethodGet, path: path, about: k, lone: true}
}

// list is the command that lists the identifiers of all objects.
func (k *kind) list() command { return k.read("list "+k.name+"s", k.path+"/list") }

// infoAll is the command that describes all objects.
func (k *kind) infoAll() command { return k.read("read info of all "+k.name+"s", k.path+"/info") }

// info is the command that describes one object.
func (k *kind) info(id string) command {
	return command{
		op: "read info of " + k.name + " " + id, method: http.MethodGet, path: k.path + "/" + id + "/info", about: k,
		err: k.check(id),
	}
}

// post is a command that changes something. keys may be nil.
func (k *kind) post(op, path string, keys Object) command {
	cmd := command{op: op, method: http.MethodPost, path: path, about: k}
	if keys != nil {
		cmd.input, cmd.err = Encode(keys)
	}
	return cmd
}

// on is a command that changes one object; do is its name in messages, and verb that in the path.
func (k *kind) on(do, id, verb string, keys Object) command {
	cmd := k.post(do+" "+k.name+" "+id, k.path+"/"+id+"/"+verb, keys)
	cmd.err = errors.Join(k.check(id), cmd.err)
	return cmd
}

// check refuses what cannot identify an object: in a path it could be the name of another command.
func (k *kind) check(id string) error {
	if k.valid(id) {
		return nil
	}
	form := "the UUID of a " + k.name
	if k == ipKind {
		form = "an IP address"
	}
	return invalid(k.missing, "%q is not %s", id, form)
}

// ErrUnsupported matches (errors.Is) the error of a read that the endpoint does not have: endpoints
// may lack the calls for resources, server groups and billing. Its code is CodeNotFound.
var ErrUnsupported = errors.New("the endpoint does not have this call")

// requiredPaths exist on every endpoint of API 1.0.
var requiredPaths = []string{
	"drives/create", "drives/info", "drives/list", "drives/standard/info", "drives/standard/list",
	"drives/standard/cd/list", "drives/standard/img/list", "profile/info",
}

// text makes a call and returns the text of the response.
func (c *Client) text(ctx context.Context, cmd command) (text []byte, err error) {
	if cmd.err != nil {
		return nil, cmd.err
	}
	r := &request{
		op: cmd.op, method: cmd.method, path: cmd.path, about: cmd.about,
		body: cmd.input, contentType: "text/plain; charset=utf-8",
	}
	if cmd.data {
		r.contentType = "application/octet-stream"
	}
	r.read = func(resp *http.Response, body io.Reader) error {
		if cmd.header != nil {
			*cmd.header = resp.Header
		}
		text, err = io.ReadAll(io.LimitReader(body, maxText+1))
		switch {
		case err != nil:
			return err
		case len(text) > maxText:
			return transfer.Errorf(transfer.CodeProtocol, hintNotAPI, "the response is longer than %d bytes", maxText)
		case isHTMLOrJSON(text) && !cmd.data:
			return transfer.Errorf(transfer.CodeProtocol, hintNotAPI,
				"the response is not keys and values: %s", singleLine(text))
		}
		return nil
	}
	if err = c.do(ctx, r); err != nil {
		return nil, explainMissing(cmd, err)
	}
	return text, nil
}

// explainMissing explains the error of a command that the endpoint does not have.
func explainMissing(cmd command, err error) error {
	var status *statusError
	switch {
	case !errors.As(err, &status):
		return err
	case slices.Contains(requiredPaths, cmd.path):
		if status.code == http.StatusNotFound {
			return &transfer.Error{Code: transfer.CodeProtocol, Hint: hintNotAPI, Err: err}
		}
	case cmd.lone && (status.code == http.StatusNotFound || status.code == http.StatusMethodNotAllowed):
		return transfer.Errorf(transfer.CodeNotFound, "not every endpoint of API 1.0 has it",
			"%w: %w", ErrUnsupported, err)
	}
	return err
}

// act makes a call that returns nothing. Endpoints respond with 204, or with 200 and any text.
func (c *Client) act(ctx context.Context, cmd command) error {
	if cmd.err != nil {
		return cmd.err
	}
	return c.do(ctx, &request{
		op: cmd.op, method: cmd.method, path: cmd.path, about: cmd.about,
		body: cmd.input, contentType: "text/plain; charset=utf-8",
	})
}

// ids makes a call that returns a list of values.
func (c *Client) ids(ctx context.Context, cmd command, parse func(text []byte) []string) ([]string, error) {
	text, err := c.text(ctx, cmd)
	return parse(text), err
}

// many makes a call that returns any number of objects.
func many[T any](ctx context.Context, c *Client, cmd command, parse func(Object) (T, error)) ([]T, error) {
	text, err := c.text(ctx, cmd)
	if err != nil {
		return nil, err
	}
	objects := Decode(text)
	values := make([]T, len(objects))
	for i, o := range objects {
		if values[i], err = parse(o); err != nil {
			return nil, fmt.Errorf("%s: %w", cmd.op, err)
		}
	}
	return values, nil
}

// one makes a call that returns one object.
func one[T any](ctx context.Context, c *Client, cmd command, parse func(Object) (T, error)) (value T, err error) {
	values, err := many(ctx, c, cmd, parse)
	if err == nil && len(values) != 1 {
		err = &transfer.Error{
			Op: cmd.op, Code: transfer.CodeProtocol, Hint: hintNotAPI,
			Err: fmt.Errorf("the response has %s, not 1", transfer.Count(len(values), "object")),
		}
	}
	if err != nil {
		return value, err
	}
	return values[0], nil
}

// changed makes a call that returns the object that it has changed. Endpoints may respond without a
// body, and then the object is read.
func changed[T any](
	ctx context.Context, c *Client, cmd, info command, parse func(Object) (T, error),
) (value T, err error) {
	values, err := many(ctx, c, cmd, parse)
	switch {
	case err != nil:
		return value, err
	case len(values) > 0:
		return values[0], nil
	}
	return one(ctx, c, info, parse)
}
