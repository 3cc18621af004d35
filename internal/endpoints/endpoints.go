// Package endpoints opens the sources and targets of jobs. It implements the worker's Opener with
// the API's drives and with images on this host.
package endpoints

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"

	"golang.org/x/sync/semaphore"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/config"
	"github.com/transferd/transferd/internal/image"
	"github.com/transferd/transferd/internal/lease"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/worker"
)

// Options are what differs between a daemon and a job that its caller's process runs.
type Options struct {
	Roots image.Roots  // the only folders that jobs may touch
	In    io.Reader    // the source "-"; nil: none
	Out   io.Writer    // the target "-"; nil: none
	Spool string       // folder for unpacked images of jobs that name none; empty: there is none
	Guard *lease.Guard // resets connections to endpoints when this process is stopped; may be nil
	// URLCredentials are the headers for the servers of URLs.
	URLCredentials []image.Credential
}

// URLCredentials makes the credentials for Options of those in a configuration.
func URLCredentials(configured map[string]config.URLCredential) (list []image.Credential) {
	for _, name := range slices.Sorted(maps.Keys(configured)) {
		c := configured[name]
		list = append(list, image.Credential{Hosts: c.Hosts, Header: func() (http.Header, error) {
			header, err := c.Header()
			var e *transfer.Error
			if errors.As(err, &e) {
				err = transfer.Errorf(e.Code, e.Hint, "url_credentials: %s: %w", name, e.Err)
			}
			return header, err
		}})
	}
	return list
}

// Opener opens the sources and targets of jobs. It is safe for concurrent use. All jobs share one
// client for each endpoint, and so one limit of requests in flight.
type Opener struct {
	opts      Options
	endpoints map[string]*endpoint
}

// endpoint is an endpoint of the config, with its client.
type endpoint struct {
	config config.Endpoint
	names  []string            // of all endpoints in the config with the same account, sorted
	access *semaphore.Weighted // of one: held while client is used
	client *api.Client         // nil: no job has used the endpoint yet
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
		o.endpoints[name] = &endpoint{config: e, names: names[e.Account()], access: semaphore.NewWeighted(1)}
	}
	return o
}

// Claim implements worker.Opener. The account is hashed, because readers of claims need not see URL
// and user.
func (o *Opener) Claim(endpoint, drive string) transfer.Claim {
	e, ok := o.endpoints[endpoint]
	if !ok {
		return transfer.Claim{Endpoint: endpoint, Drive: drive} // Client refuses it
	}
	sum := sha256.Sum256([]byte(e.config.Account()))
	return transfer.Claim{Endpoint: hex.EncodeToString(sum[:16]), Names: e.names, Drive: drive}
}

// Client is the client of a named endpoint; CodeInvalid if there is none of that name. It may wait
// for the command that fetches the password. Other callers for the same endpoint wait for it, too,
// until their ctx ends.
func (o *Opener) Client(ctx context.Context, name string) (*api.Client, error) {
	e, ok := o.endpoints[name]
	if !ok {
		return nil, transfer.Errorf(transfer.CodeInvalid,
			"add it to the config under `endpoints:`, on each host that serves the job's queue",
			"there is no endpoint named %q", name)
	}
	if err := e.access.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer e.access.Release(1)
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

// Reload fetches the passwords of all endpoints that jobs have used, one after the other. If that
// fails for an endpoint, the current password stays, and Reload returns the error. Changed
// certificates need no Reload.
func (o *Opener) Reload(ctx context.Context) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(o.endpoints)) {
		e := o.endpoints[name]
		if err := e.access.Acquire(ctx, 1); err != nil {
			return err
		}
		client := e.client
		e.access.Release(1)
		if client == nil {
			continue
		}
		if err := client.Reload(ctx); err != nil {
			errs = append(errs, fmt.Errorf("endpoint %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// session is the client for one job: its calls count for the job and obey the job's limit.
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
