package endpoints

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/worker"
)

// ServerState implements worker.ServerControl.
func (o *Opener) ServerState(
	ctx context.Context, s *worker.Session, server string,
) (state worker.ServerState, err error) {
	c, err := o.session(ctx, s, s.Spec.Source.Endpoint)
	if err != nil {
		return state, err
	}
	info, err := c.Server(ctx, server)
	if err != nil {
		return state, err
	}
	state = worker.ServerState{Running: info.Running(), Config: configOf(&info)}
	if info.Keys["persistent"] == "false" {
		state.NotAgain = "it is not persistent, so its endpoint would remove it"
	}
	if state.Running {
		state.NewAddress, err = hasDynamicAddress(ctx, c, &info)
	}
	return state, err
}

// volatileKey matches the keys of a server that its run changes, not its user: states, counters and
// the addresses that are auto while it is stopped.
var volatileKey = regexp.MustCompile(
	`^(status|started|user|[rt]x(:.*)?|.*:(read|write):(bytes|requests)|nic:\d:dhcp|vnc:ip)$`)

// configOf is a digest of a server's configuration.
func configOf(s *api.Server) string {
	sum := sha256.New()
	for _, key := range slices.Sorted(maps.Keys(s.Keys)) {
		if !volatileKey.MatchString(key) {
			fmt.Fprintf(sum, "%q %q\n", key, s.Keys[key])
		}
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}

// hasDynamicAddress reports whether a running server has an address that is not one of the account's
// static ones.
func hasDynamicAddress(ctx context.Context, c *api.Client, s *api.Server) (bool, error) {
	var used []string
	for _, nic := range s.NICs {
		used = append(used, nic.DHCP)
	}
	used = slices.DeleteFunc(append(used, s.VNC.IP), func(address string) bool { return address == "" })
	if len(used) == 0 {
		return false, nil
	}
	static, err := c.ListIPs(ctx)
	return slices.ContainsFunc(used, func(address string) bool { return !slices.Contains(static, address) }), err
}

// ShutDown implements worker.ServerControl.
func (o *Opener) ShutDown(ctx context.Context, s *worker.Session, server string) error {
	return o.onServer(ctx, s, func(c *api.Client) error { return c.ShutDownServer(ctx, server) })
}

// Stop implements worker.ServerControl.
func (o *Opener) Stop(ctx context.Context, s *worker.Session, server string) error {
	return o.onServer(ctx, s, func(c *api.Client) error { return c.StopServer(ctx, server) })
}

// Start implements worker.ServerControl.
func (o *Opener) Start(ctx context.Context, s *worker.Session, server string) error {
	return o.onServer(ctx, s, func(c *api.Client) error {
		_, err := c.StartServer(ctx, server)
		return err
	})
}

func (o *Opener) onServer(ctx context.Context, s *worker.Session, run func(c *api.Client) error) error {
	c, err := o.session(ctx, s, s.Spec.Source.Endpoint)
	if err != nil {
		return err
	}
	return run(c)
}
