package endpoints_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
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

// bench is a sandbox over real HTTP, and a worker that reaches it as endpoint "here" and once more as "there".
type bench struct {
	t       *testing.T
	dir     string
	sandbox *sandbox.Server
	opener  *endpoints.Opener
	worker  *worker.Worker
	last    transfer.Progress
	answer  atomic.Pointer[answerFunc]
}

// answerFunc may answer a call in the sandbox's place, and reports whether it did.
type answerFunc func(w http.ResponseWriter, r *http.Request) bool

// intercept calls f before the sandbox from now on.
func (b *bench) intercept(f answerFunc) { b.answer.Store(&f) }

func newBench(t *testing.T, faults ...string) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir()}
	var url string
	b.sandbox, url = sandboxtest.Start(t, sandbox.Config{
		Dir: filepath.Join(b.dir, "sandbox"), User: "u", Password: "p", Seed: 1,
		Intercept: func(w http.ResponseWriter, r *http.Request) bool {
			f := b.answer.Load()
			return f != nil && (*f)(w, r)
		},
	}, faults...)
	t.Setenv("BENCH_PASSWORD", "p")
	e := config.Endpoint{URL: url + "/", User: "u", PasswordEnv: "BENCH_PASSWORD"}
	b.opener = endpoints.New(map[string]config.Endpoint{"here": e, "there": e}, endpoints.Options{Roots: image.Roots{b.dir}})
	policy := flow.DefaultPolicy
	policy.Base, policy.Cap = policy.Base/100, policy.Cap/100
	b.worker = worker.New(worker.Config{Opener: b.opener, Policy: policy, Log: zap.NewNop(), Observe: func(p transfer.Progress) { b.last = p }})
	return b
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

// image makes a file, disk.img, of size bytes with random data, the same in every run, in every second of its 64 KiB pieces.
func (b *bench) image(size int64) string {
	b.t.Helper()
	f, err := os.Create(b.path("disk.img"))
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		b.t.Fatal(err)
	}
	const piece = 64 << 10
	noise := rand.NewChaCha8([32]byte{1})
	for off := int64(0); off < size; off += 2 * piece {
		data := make([]byte, min(piece, size-off))
		_, _ = noise.Read(data) // never fails
		if _, err := f.WriteAt(data, off); err != nil {
			b.t.Fatal(err)
		}
	}
	return f.Name()
}

func (b *bench) run(spec transfer.Spec) (transfer.Progress, error) {
	b.t.Helper()
	if err := endpoints.Schemes.Check(&spec); err != nil {
		b.t.Fatal(err)
	}
	j, err := localstore.Open(b.path("journal"), &spec)
	if err != nil {
		b.t.Fatal(err)
	}
	defer j.Close()
	b.last = transfer.Progress{}
	err = b.worker.Run(context.Background(), nil, worker.Job{ID: j.ID(), Spec: spec}, j)
	if err := j.Remove(); err != nil {
		b.t.Error(err)
	}
	return b.last, err
}

func (b *bench) mustRun(spec transfer.Spec) transfer.Progress {
	b.t.Helper()
	p, err := b.run(spec)
	if err != nil {
		b.t.Fatalf("%s %s → %s: %v", spec.Kind, spec.Source, spec.Target, err)
	}
	if p.Chunks.Done != p.Chunks.Total || p.Verified != (spec.Verify != transfer.VerifyNone) {
		b.t.Errorf("%s: %+v, verified %v", spec.Kind, p.Chunks, p.Verified)
	}
	return p
}

func file(path string) transfer.Ref        { return transfer.Ref{Path: path} }
func drive(name, uuid string) transfer.Ref { return transfer.Ref{Endpoint: name, Drive: uuid} }
func spec(kind transfer.Kind, from, to transfer.Ref) transfer.Spec {
	s := transfer.NewSpec(kind, from, to)
	s.ChunkSize, s.Name = 64<<10, ""
	if to.IsDrive() && to.Drive == "" {
		s.Name = "test"
	}
	return s
}

func (b *bench) equal(a, c string) {
	b.t.Helper()
	x, err := os.ReadFile(a)
	if err != nil {
		b.t.Fatal(err)
	}
	y, err := os.ReadFile(c)
	if err != nil {
		b.t.Fatal(err)
	}
	if !bytes.Equal(x, y) {
		b.t.Errorf("%s and %s differ", a, c)
	}
}

// TestImageSurvivesUploadCloneAndDownload takes images of all boundary sizes up, to a clone, to another endpoint and down again.
func TestImageSurvivesUploadCloneAndDownload(t *testing.T) {
	const c = 64 << 10
	for _, size := range []int64{512, c - 512, c, c + 512, 7*c + 1024} {
		b := newBench(t)
		img := b.image(size)
		up := b.mustRun(spec(transfer.Upload, file(img), drive("here", "")))
		clone := b.mustRun(spec(transfer.Clone, drive("here", up.Drive), drive("here", "")))
		there := b.mustRun(spec(transfer.Clone, drive("here", clone.Drive), drive("there", "")))
		b.mustRun(spec(transfer.Download, drive("there", there.Drive), file(b.path("copy.img"))))
		b.equal(img, b.path("copy.img"))
		for _, against := range []string{img, b.path("copy.img.manifest.json")} {
			if p := b.mustRun(spec(transfer.Verify, file(against), drive("there", there.Drive))); p.Digest.ChunksRoot != up.Digest.ChunksRoot {
				t.Errorf("%d bytes: roots %s and %s", size, p.Digest.ChunksRoot, up.Digest.ChunksRoot)
			}
		}
	}
}

// TestImageSurvivesEveryFault moves an image through every fault at once, and proves that each was met and none got through.
func TestImageSurvivesEveryFault(t *testing.T) {
	faults := []string{"409=4%", "504=4%", "500=4%", "reset=4%", "truncate=4%", "corrupt-write=4%", "corrupt-read=4%"}
	b := newBench(t, faults...)
	img := b.image(24 << 20)
	up := b.mustRun(spec(transfer.Upload, file(img), drive("here", "")))
	down := spec(transfer.Download, drive("here", up.Drive), file(b.path("copy.img")))
	down.Verify = transfer.VerifyFull // a download that reads once cannot know of a bit that was flipped on the way
	b.mustRun(down)
	b.equal(img, b.path("copy.img"))
	r := up.Retries
	for name, n := range map[string]int64{"conflict": r.Conflict, "timeout": r.Timeout, "server": r.Server, "network": r.Network, "mismatch": r.Mismatch} {
		if n == 0 {
			t.Errorf("no retry of kind %s in %+v", name, r)
		}
	}
	for kind, n := range b.sandbox.FaultCounts() {
		if n == 0 && slices.ContainsFunc(faults, func(f string) bool { return strings.HasPrefix(f, kind+"=") }) {
			t.Errorf("fault %s never struck", kind)
		}
	}
}

// TestOneJobMakesOneDrive cuts a job off after its drive was made and before it was recorded.
func TestOneJobMakesOneDrive(t *testing.T) {
	b := newBench(t)
	s := spec(transfer.Upload, file(b.image(1<<20)), drive("here", ""))
	session := &worker.Session{Job: worker.Job{ID: "job", Spec: s}}
	first, err := b.opener.Provision(t.Context(), session, 1<<20, false)
	if err != nil {
		t.Fatal(err)
	}
	second, err := b.opener.Provision(t.Context(), session, 1<<20, true)
	if err != nil || first != second {
		t.Errorf("the second call has drive %s (%v), want %s", second, err, first)
	}
}

// failOnce answers the next call of a path that ends so with a status.
func (b *bench) failOnce(suffix string, status int) {
	var done atomic.Bool
	b.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, suffix) || done.Swap(true) {
			return false
		}
		w.WriteHeader(status)
		return true
	})
}

// TestEachJobMakesItsOwnDrive makes a drive of its own each time, also when it has to ask twice.
func TestEachJobMakesItsOwnDrive(t *testing.T) {
	b := newBench(t)
	s := spec(transfer.Upload, file(b.image(1<<20)), drive("here", ""))
	first := b.mustRun(s)
	b.failOnce("drives/create", http.StatusGatewayTimeout)
	if second := b.mustRun(s); second.Drive == first.Drive {
		t.Error("the second job has written to the first one's drive")
	}
}

// TestNewDriveMayBeUnknownAtFirst is a drive that one part of the endpoint has made, and another has not heard of yet.
func TestNewDriveMayBeUnknownAtFirst(t *testing.T) {
	for _, to := range []string{"here", "there"} { // where the endpoint clones by itself, and where it does not
		b := newBench(t)
		origin := b.mustRun(spec(transfer.Upload, file(b.image(1<<20)), drive("here", "")))
		var unknown atomic.Int64
		b.intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, origin.Drive) || !strings.HasSuffix(r.URL.Path, "/info") || unknown.Add(1) > 3 {
				return false
			}
			w.WriteHeader(http.StatusNotFound)
			return true
		})
		b.mustRun(spec(transfer.Clone, drive("here", origin.Drive), drive(to, "")))
		if n := unknown.Load(); n < 4 {
			t.Errorf("%s: the drive was looked at %d times", to, n)
		}
	}
}

// TestNothingIsMadeForBadInput looks at the endpoint after each refusal.
func TestNothingIsMadeForBadInput(t *testing.T) {
	b := newBench(t)
	img := b.image(1 << 20)
	write := func(name string, data []byte) string {
		if err := os.WriteFile(b.path(name), data, 0o600); err != nil {
			t.Fatal(err)
		}
		return b.path(name)
	}
	small := spec(transfer.Upload, file(img), drive("here", ""))
	small.Size = 512 << 10
	for name, tc := range map[string]struct {
		spec transfer.Spec
		code transfer.Code
	}{
		"missing":          {spec(transfer.Upload, file(b.path("none")), drive("here", "")), transfer.CodeNotFound},
		"a folder":         {spec(transfer.Upload, file(b.dir), drive("here", "")), transfer.CodeInvalid},
		"empty":            {spec(transfer.Upload, file(write("empty", nil)), drive("here", "")), transfer.CodeInvalid},
		"no whole sectors": {spec(transfer.Upload, file(write("odd", make([]byte, 1000))), drive("here", "")), transfer.CodeInvalid},
		"damaged gzip":     {spec(transfer.Upload, file(write("torn.gz", []byte("\x1f\x8b\x08\x00torn"))), drive("here", "")), transfer.CodeInvalid},
		"larger than size": {small, transfer.CodeInvalid},
		"outside of roots": {spec(transfer.Upload, file("/etc/passwd"), drive("here", "")), transfer.CodeForbidden},
		"no endpoint":      {spec(transfer.Upload, file(img), drive("nowhere", "")), transfer.CodeInvalid},
	} {
		_, err := b.run(tc.spec)
		if transfer.CodeOf(err) != tc.code {
			t.Errorf("%s: %v has code %s, not %s", name, err, transfer.CodeOf(err), tc.code)
		}
	}
	c, err := b.opener.Client(t.Context(), "here")
	if err != nil {
		t.Fatal(err)
	}
	if drives, err := c.InfoAll(t.Context()); err != nil || len(drives) != 0 {
		t.Errorf("the endpoint has %d drives, %v", len(drives), err)
	}
}
