package bench

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/transferd/transferd/internal/flow"
	"github.com/transferd/transferd/internal/jobtest"
	"github.com/transferd/transferd/internal/sandbox"
	"github.com/transferd/transferd/internal/transfer"
)

// newHarness has the drives of its sandbox in the folder of the images, which is in memory if
// possible.
func newHarness(b *testing.B) *jobtest.Harness {
	b.Helper()
	drives := sandbox.Config{Dir: filepath.Join(work, "sandbox", b.Name())}
	return jobtest.New(b, jobtest.Config{Sandbox: drives, Roots: []string{work}, Policy: flow.DefaultPolicy})
}

func upload(path string) transfer.Spec {
	s := transfer.NewSpec(transfer.Upload, jobtest.File(path), jobtest.Drive(jobtest.Here, ""))
	s.Name = "bench"
	return s
}

// BenchmarkUpload uploads each image, by chunks in flight (0: the window finds the number) and by
// mode of verification.
func BenchmarkUpload(b *testing.B) {
	for _, set := range sets {
		for _, inFlight := range []int{0, 1, 4, 16} {
			for _, mode := range []transfer.VerifyMode{transfer.VerifyWritten, transfer.VerifyNone} {
				if mode == transfer.VerifyNone && inFlight != 0 {
					continue
				}
				b.Run(fmt.Sprintf("%s/inflight=%d/verify=%s", set, inFlight, mode), func(b *testing.B) {
					path := image(b, set)
					h := newHarness(b)
					s := upload(path)
					s.Concurrency, s.Verify = inFlight, mode
					b.SetBytes(dataSize(b, path))
					b.ReportAllocs()
					for b.Loop() {
						h.Destroy(h.MustRun(s).Drive)
					}
				})
			}
		}
	}
}

// BenchmarkTebibyte uploads an image of 1 TiB with as much data as the dense one.
func BenchmarkTebibyte(b *testing.B) {
	path := tebibyte(b)
	h := newHarness(b)
	b.SetBytes(denseSize)
	for b.Loop() {
		h.Destroy(h.MustRun(upload(path)).Drive)
	}
}

// BenchmarkOthers runs the other kinds of job.
func BenchmarkOthers(b *testing.B) {
	for _, set := range sets {
		path := image(b, set)
		begin := func(b *testing.B) (*jobtest.Harness, string) {
			h := newHarness(b)
			b.SetBytes(dataSize(b, path))
			return h, h.MustRun(upload(path)).Drive
		}
		b.Run("download/"+set, func(b *testing.B) {
			h, uuid := begin(b)
			target := jobtest.File(filepath.Join(work, "copy.img"))
			s := transfer.NewSpec(transfer.Download, jobtest.Drive(jobtest.Here, uuid), target)
			s.Overwrite = true
			for b.Loop() {
				h.MustRun(s)
			}
		})
		b.Run("clone/"+set, func(b *testing.B) {
			h, uuid := begin(b)
			s := transfer.NewSpec(transfer.Clone, jobtest.Drive(jobtest.Here, uuid), jobtest.Drive(jobtest.There, ""))
			for b.Loop() {
				h.Destroy(h.MustRun(s).Drive)
			}
		})
		b.Run("verify/"+set, func(b *testing.B) {
			h, uuid := begin(b)
			for b.Loop() {
				h.MustRun(transfer.NewSpec(transfer.Verify, jobtest.File(path), jobtest.Drive(jobtest.Here, uuid)))
			}
		})
	}
}
