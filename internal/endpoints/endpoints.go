// Package endpoints makes the ends of jobs: it puts the API's drives and local images behind the interface through which
// the worker reaches them.
package endpoints

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"golang.org/x/sync/semaphore"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/config"
	"github.com/transferd/transferd/internal/image"
	"github.com/transferd/transferd/internal/lease"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/worker"
)

// Options is what differs between a daemon and a job run in its caller's process.
type Options struct {
	Roots image.Roots  // the only folders that jobs may touch
	In    io.Reader    // what "-" reads; nil: nothing
	Out   io.Writer    // what "-" writes; nil: nothing
	Guard *lease.Guard // ends connections to endpoints when this process stalls; may be nil
}

// Opener opens the ends of jobs. It is safe for concurrent use; all jobs share one client, and so one limit of requests
// in flight, for each endpoint.
type Opener struct {
	opts      Options
	endpoints map[string]*endpoint
}

// endpoint is an endpoint of the config, and its client once it was asked for.
type endpoint struct {
	config config.Endpoint
	names  []string            // of all endpoints in the config with the same account, sorted
	turn   *semaphore.Weighted // of one; whoever has it may use client
	client *api.Client
}

var _ worker.Opener = (*Opener)(nil)

// New makes an opener for the endpoints of a configuration.
func New(endpoints map[string]config.Endpoint, opts Options) *Opener {
	o := &Opener{opts: opts, endpoints: make(map[string]*endpoint, len(endpoints))}
	names := make(map[string][]string)
	for _, name := range slices.Sorted(maps.Keys(endpoints)) {
		e := endpoints[name]
		names[e.Account()] = append(names[e.Account()], name)
	}
	for name, e := range endpoints {
		o.endpoints[name] = &endpoint{config: e, names: names[e.Account()], turn: semaphore.NewWeighted(1)}
	}
	return o
}

// Claim implements worker.Opener. The account is hashed: readers of claims need not see URL and
// user.
func (o *Opener) Claim(endpoint, drive string) transfer.Claim {
	e, ok := o.endpoints[endpoint]
	if !ok {
		return transfer.Claim{Endpoint: endpoint, Drive: drive} // Client refuses it
	}
	sum := sha256.Sum256([]byte(e.config.Account()))
	return transfer.Claim{Endpoint: hex.EncodeToString(sum[:16]), Names: e.names, Drive: drive}
}

// Client is the client of a named endpoint; CodeInvalid if there is none of that name. To fetch the password may take long,
// which others who want the same endpoint wait for, as long as their ctx lasts.
func (o *Opener) Client(ctx context.Context, name string) (*api.Client, error) {
	e, ok := o.endpoints[name]
	if !ok {
		return nil, transfer.Errorf(transfer.CodeInvalid,
			"add it to the config under `endpoints:`, on each host that serves the job's queue",
			"there is no endpoint named %q", name)
	}
	if err := e.turn.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer e.turn.Release(1)
	if e.client != nil {
		return e.client, nil
	}
	password, err := e.config.Password(ctx)
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", name, err)
	}
	e.client, err = api.New(api.Config{
		Name: name, URL: e.config.URL, User: e.config.User, Password: password, FetchPassword: e.config.Password,
		CAFile: e.config.CAFile, MaxInFlight: e.config.MaxInFlight, Guard: o.opts.Guard,
	})
	return e.client, err
}

// Reload fetches the passwords of all endpoints that jobs have used, one after the other. An
// endpoint whose password cannot be fetched keeps the current one, and its error is returned.
// Changed certificates are read without Reload.
func (o *Opener) Reload(ctx context.Context) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(o.endpoints)) {
		e := o.endpoints[name]
		if err := e.turn.Acquire(ctx, 1); err != nil {
			return err
		}
		client := e.client
		e.turn.Release(1)
		if client == nil {
			continue
		}
		if err := client.Reload(ctx); err != nil {
			errs = append(errs, fmt.Errorf("endpoint %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// session is the client that a job uses: what it sends counts for the job and obeys its --limit-rate.
func (o *Opener) session(ctx context.Context, s *worker.Session, name string) (*api.Client, error) {
	c, err := o.Client(ctx, name)
	if err != nil {
		return nil, err
	}
	return c.Session(api.Job{Meter: s.Meter, Limit: s.Limit, Lease: s.Lease}), nil
}

// drive opens an existing drive.
func (o *Opener) drive(ctx context.Context, s *worker.Session, endpoint, uuid string) (*api.Drive, error) {
	c, err := o.session(ctx, s, endpoint)
	if err != nil {
		return nil, err
	}
	return api.OpenDrive(ctx, c, uuid)
}
