package bench

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/config"
	"github.com/transferd/transferd/internal/endpoints"
	"github.com/transferd/transferd/internal/flow"
	img "github.com/transferd/transferd/internal/image"
	"github.com/transferd/transferd/internal/localstore"
	"github.com/transferd/transferd/internal/sandbox"
	"github.com/transferd/transferd/internal/sandboxtest"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/worker"
)

// rig is the engine and a sandbox, over real HTTP.
type rig struct {
	b      *testing.B
	dir    string
	worker *worker.Worker
	opener *endpoints.Opener
	last   transfer.Progress
}

func newRig(b *testing.B) *rig {
	b.Helper()
	r := &rig{b: b, dir: b.TempDir()}
	_, url := sandboxtest.Start(b, sandbox.Config{Dir: filepath.Join(work, "sandbox", b.Name()), User: "u", Password: "p"})
	b.Setenv("BENCH_PASSWORD", "p")
	e := config.Endpoint{URL: url, User: "u", PasswordEnv: "BENCH_PASSWORD"}
	r.opener = endpoints.New(map[string]config.Endpoint{"here": e, "there": e}, endpoints.Options{Roots: img.Roots{"/"}})
	r.worker = worker.New(worker.Config{
		Opener: r.opener, Policy: flow.DefaultPolicy, Log: zap.NewNop(), Observe: func(p transfer.Progress) { r.last = p },
	})
	return r
}

func (r *rig) run(s transfer.Spec) transfer.Progress {
	r.b.Helper()
	if err := endpoints.Schemes.Check(&s); err != nil {
		r.b.Fatal(err)
	}
	j, err := localstore.Open(filepath.Join(r.dir, "journal"), &s)
	if err != nil {
		r.b.Fatal(err)
	}
	defer j.Close()
	if err := r.worker.Run(context.Background(), nil, worker.Job{ID: j.ID(), Spec: s}, j); err != nil {
		r.b.Fatal(err)
	}
	if err := j.Remove(); err != nil {
		r.b.Error(err)
	}
	return r.last
}

// destroy takes a drive away, so that the next run finds the room again.
func (r *rig) destroy(uuid string) {
	r.b.Helper()
	c, err := r.opener.Client(context.Background(), "here")
	if err == nil {
		err = c.Destroy(context.Background(), uuid)
	}
	if err != nil {
		r.b.Fatal(err)
	}
}

func file(path string) transfer.Ref            { return transfer.Ref{Path: path} }
func drive(endpoint, uuid string) transfer.Ref { return transfer.Ref{Endpoint: endpoint, Drive: uuid} }

func upload(path string) transfer.Spec {
	s := transfer.NewSpec(transfer.Upload, file(path), drive("here", ""))
	s.Name = "bench"
	return s
}

// BenchmarkUpload takes each image up, by chunks in flight (0: as many as pay) and by what is verified.
func BenchmarkUpload(b *testing.B) {
	for _, set := range sets {
		for _, inFlight := range []int{0, 1, 4, 16} {
			for _, mode := range []transfer.VerifyMode{transfer.VerifyWritten, transfer.VerifyNone} {
				if mode == transfer.VerifyNone && inFlight != 0 {
					continue
				}
				b.Run(fmt.Sprintf("%s/inflight=%d/verify=%s", set, inFlight, mode), func(b *testing.B) {
					path := image(b, set)
					r := newRig(b)
					s := upload(path)
					s.Concurrency, s.Verify = inFlight, mode
					b.SetBytes(stored(b, path))
					b.ReportAllocs()
					for b.Loop() {
						r.destroy(r.run(s).Drive)
					}
				})
			}
		}
	}
}

// BenchmarkTebibyte takes up an image of 1 TiB that holds as much data as the dense one.
func BenchmarkTebibyte(b *testing.B) {
	path := tebibyte(b)
	r := newRig(b)
	b.SetBytes(denseSize)
	for b.Loop() {
		r.destroy(r.run(upload(path)).Drive)
	}
}

// BenchmarkOthers is the other kinds of job.
func BenchmarkOthers(b *testing.B) {
	for _, set := range sets {
		path := image(b, set)
		begin := func(b *testing.B) (*rig, string) {
			r := newRig(b)
			b.SetBytes(stored(b, path))
			return r, r.run(upload(path)).Drive
		}
		b.Run("download/"+set, func(b *testing.B) {
			r, uuid := begin(b)
			s := transfer.NewSpec(transfer.Download, drive("here", uuid), file(filepath.Join(work, "copy.img")))
			s.Overwrite = true
			for b.Loop() {
				r.run(s)
			}
		})
		b.Run("clone/"+set, func(b *testing.B) {
			r, uuid := begin(b)
			s := transfer.NewSpec(transfer.Clone, drive("here", uuid), drive("there", ""))
			for b.Loop() {
				r.destroy(r.run(s).Drive)
			}
		})
		b.Run("verify/"+set, func(b *testing.B) {
			r, uuid := begin(b)
			for b.Loop() {
				r.run(transfer.NewSpec(transfer.Verify, file(path), drive("here", uuid)))
			}
		})
	}
}
