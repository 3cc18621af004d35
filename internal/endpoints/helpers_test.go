package endpoints_test

import (
	"bytes"
	"math/rand/v2"
	"net/http"
	"os"
	"sync/atomic"
	"testing"

	"github.com/transferd/transferd/internal/flow"
	"github.com/transferd/transferd/internal/jobtest"
	"github.com/transferd/transferd/internal/sandbox"
	"github.com/transferd/transferd/internal/transfer"
)

// harness is a jobtest.Harness whose sandbox can be intercepted.
type harness struct {
	*jobtest.Harness
	t         *testing.T
	intercept atomic.Pointer[interceptFunc]
}

// interceptFunc may respond to a call in the sandbox's place, and reports whether it did.
type interceptFunc func(w http.ResponseWriter, r *http.Request) bool

func newHarness(t *testing.T, faults ...string) *harness {
	t.Helper()
	return newHarnessWith(t, sandbox.Config{}, faults...)
}

// newHarnessWith is newHarness with a configuration of the sandbox, without its Seed and Intercept.
func newHarnessWith(t *testing.T, cfg sandbox.Config, faults ...string) *harness {
	t.Helper()
	h := &harness{t: t}
	policy := flow.DefaultPolicy
	policy.Base, policy.Cap = policy.Base/100, policy.Cap/100
	cfg.Seed, cfg.Intercept = 1, func(w http.ResponseWriter, r *http.Request) bool {
		f := h.intercept.Load()
		return f != nil && (*f)(w, r)
	}
	h.Harness = jobtest.New(t, jobtest.Config{Sandbox: cfg, Faults: faults, Policy: policy})
	return h
}

// setIntercept makes the sandbox call f first from now on.
func (h *harness) setIntercept(f interceptFunc) { h.intercept.Store(&f) }

// image makes a file, disk.img, of size bytes. Every second piece of 64 KiB is random data, the
// same in every run.
func (h *harness) image(size int64) string {
	h.t.Helper()
	f, err := os.Create(h.Path("disk.img"))
	if err != nil {
		h.t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		h.t.Fatal(err)
	}
	const piece = 64 << 10
	noise := rand.NewChaCha8([32]byte{1})
	for off := int64(0); off < size; off += 2 * piece {
		data := make([]byte, min(piece, size-off))
		_, _ = noise.Read(data) // never fails
		if _, err := f.WriteAt(data, off); err != nil {
			h.t.Fatal(err)
		}
	}
	return f.Name()
}

// spec is a job with small chunks. A new drive has the name test.
func spec(kind transfer.Kind, from, to transfer.Ref) transfer.Spec {
	s := transfer.NewSpec(kind, from, to)
	s.ChunkSize, s.Name = 64<<10, ""
	if to.IsDrive() && to.Drive == "" {
		s.Name = "test"
	}
	return s
}

// upload uploads a new image to a new drive, and returns its UUID.
func (h *harness) upload(size int64) string {
	h.t.Helper()
	return h.MustRun(spec(transfer.Upload, jobtest.File(h.image(size)), newDrive)).Drive
}

var newDrive = jobtest.Drive(jobtest.Here, "")

// expectEqual checks that two files have the same content.
func (h *harness) expectEqual(got, want string) {
	h.t.Helper()
	g, err := os.ReadFile(got)
	if err != nil {
		h.t.Fatal(err)
	}
	w, err := os.ReadFile(want)
	if err != nil {
		h.t.Fatal(err)
	}
	if !bytes.Equal(g, w) {
		h.t.Errorf("%s differs from %s, want the same content", got, want)
	}
}
