// Package jobtest runs jobs against a sandbox, for tests and benchmarks of the whole engine. The
// jobs use no queue: they run in the process of the test, as with --local.
package jobtest

import (
	"errors"
	"path/filepath"
	"testing"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/config"
	"github.com/transferd/transferd/internal/endpoints"
	"github.com/transferd/transferd/internal/flow"
	"github.com/transferd/transferd/internal/image"
	"github.com/transferd/transferd/internal/localstore"
	"github.com/transferd/transferd/internal/sandbox"
	"github.com/transferd/transferd/internal/sandboxtest"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/worker"
)

// Here and There are the names of a harness's endpoints. Both are the same sandbox under the same
// account, but a clone between them passes through the worker.
const (
	Here  = "here"
	There = "there"
)

// Config configures a harness.
type Config struct {
	Sandbox sandbox.Config // without User and Password; an empty Dir is a folder in Harness.Dir
	Faults  []string       // as the option --fault of transferd sandbox
	Roots   image.Roots    // the folders that jobs may touch; empty: Harness.Dir
	Policy  flow.Policy
}

// Harness is a sandbox, served over HTTP, and a worker whose endpoints Here and There are this
// sandbox. It runs one job at a time.
type Harness struct {
	Dir     string // a temporary folder
	Sandbox *sandbox.Server
	Opener  *endpoints.Opener

	t      testing.TB
	worker *worker.Worker
	last   transfer.Progress
}

// New starts a sandbox, which runs until the test ends, and makes a worker.
func New(t testing.TB, cfg Config) *Harness {
	t.Helper()
	h := &Harness{t: t, Dir: t.TempDir()}
	const user, password, variable = "u", "p", "JOBTEST_PASSWORD"
	cfg.Sandbox.User, cfg.Sandbox.Password = user, password
	if cfg.Sandbox.Dir == "" {
		cfg.Sandbox.Dir = h.Path("sandbox")
	}
	if len(cfg.Roots) == 0 {
		cfg.Roots = image.Roots{h.Dir}
	}
	var url string
	h.Sandbox, url = sandboxtest.Start(t, cfg.Sandbox, cfg.Faults...)
	t.Setenv(variable, password)
	e := config.Endpoint{URL: url, User: user, PasswordEnv: variable}
	h.Opener = endpoints.New(map[string]config.Endpoint{Here: e, There: e}, endpoints.Options{Roots: cfg.Roots})
	h.worker = worker.New(worker.Config{
		Opener: h.Opener, Policy: cfg.Policy, Log: zap.NewNop(),
		Observe: func(p transfer.Progress) { h.last = p },
	})
	return h
}

// Path is the path of a file in Dir.
func (h *Harness) Path(name string) string { return filepath.Join(h.Dir, name) }

// Run runs a job to its end, successful or not, and returns its last progress and its error.
func (h *Harness) Run(spec transfer.Spec) (transfer.Progress, error) {
	h.t.Helper()
	return h.run(spec, func(s *localstore.Store) error { return errors.Join(s.Remove(), s.Close()) })
}

// MustRun is Run for a job that must succeed, with all chunks done and verified as the spec
// demands.
func (h *Harness) MustRun(spec transfer.Spec) transfer.Progress {
	h.t.Helper()
	p, err := h.Run(spec)
	if err != nil {
		h.t.Fatalf("%s %s to %s: got %v, want success", spec.Kind, spec.Source, spec.Target, err)
	}
	if want := spec.Verify != transfer.VerifyNone; p.Chunks.Done != p.Chunks.Total || p.Verified != want {
		h.t.Errorf("%s: got chunks %+v, verified %t; want all done and %t", spec.Kind, p.Chunks, p.Verified, want)
	}
	return p
}

// Attempt is Run, but keeps the state of the job: the next Attempt with the same spec resumes it.
func (h *Harness) Attempt(spec transfer.Spec) (transfer.Progress, error) {
	h.t.Helper()
	return h.run(spec, (*localstore.Store).Close)
}

func (h *Harness) run(spec transfer.Spec, release func(*localstore.Store) error) (transfer.Progress, error) {
	h.t.Helper()
	if err := endpoints.Schemes.Check(&spec); err != nil {
		h.t.Fatal(err)
	}
	store, err := localstore.Open(h.Path("store"), &spec)
	if err != nil {
		h.t.Fatal(err)
	}
	h.last = transfer.Progress{}
	jobErr := h.worker.Run(h.t.Context(), nil, worker.Job{ID: store.ID(), Spec: spec}, store)
	if err := release(store); err != nil {
		h.t.Errorf("release the job's store: %v", err)
	}
	return h.last, jobErr
}

// Destroy destroys a drive of the sandbox.
func (h *Harness) Destroy(uuid string) {
	h.t.Helper()
	c, err := h.Opener.Client(h.t.Context(), Here)
	if err == nil {
		err = c.DestroyDrive(h.t.Context(), uuid)
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

// File is the address of a file.
func File(path string) transfer.Ref { return transfer.Ref{Path: path} }

// Drive is the address of a drive; an empty UUID means a new drive.
func Drive(endpoint, uuid string) transfer.Ref {
	return transfer.Ref{Endpoint: endpoint, Drive: uuid}
}
