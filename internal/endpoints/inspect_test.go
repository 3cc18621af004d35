package endpoints_test

import (
	"bytes"
	"compress/gzip"
	"os"
	"testing"
	"time"

	"github.com/transferd/transferd/internal/endpoints"
	"github.com/transferd/transferd/internal/image"
	"github.com/transferd/transferd/internal/jobtest"
	"github.com/transferd/transferd/internal/transfer"
)

// TestInspectDescribesImages: size and format, or why they are refused.
func TestInspectDescribesImages(t *testing.T) {
	h := newHarness(t)
	raw := h.image(1 << 20)
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(make([]byte, 1<<20)); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"a.gz": packed.Bytes(), "q.img": []byte("QFI\xfb\x00\x00\x00\x03"), "empty": nil,
	} {
		if err := os.WriteFile(h.Path(name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := endpoints.New(nil, endpoints.Options{Roots: image.Roots{h.Path("")}})
	for path, want := range map[string]transfer.FileReport{
		raw: {Size: 1 << 20, Format: "raw"}, h.Path("a.gz"): {Size: -1, Format: "gz"},
		h.Path("q.img"): {Error: &transfer.Failure{Code: transfer.CodeInvalid}},
		h.Path("empty"): {Error: &transfer.Failure{Code: transfer.CodeInvalid}},
		h.Path("none"):  {Error: &transfer.Failure{Code: transfer.CodeNotFound}},
		"/etc/passwd":   {Error: &transfer.Failure{Code: transfer.CodeForbidden}},
	} {
		got, err := o.Inspect(t.Context(), []transfer.FileQuery{{Source: path}})
		if err != nil {
			t.Fatal(err)
		}
		if r := got[0]; r.Size != want.Size || r.Format != want.Format || (r.Error == nil) != (want.Error == nil) ||
			r.Error != nil && r.Error.Code != want.Error.Code {
			t.Errorf("%s: got %+v (%+v), want %+v", path, r, r.Error, want)
		}
	}
}

// TestInspectComparesAnImageThatWasTouched with the known one, as a whole.
func TestInspectComparesAnImageThatWasTouched(t *testing.T) {
	h := newHarness(t)
	path := h.image(1 << 20)
	job := h.MustRun(spec(transfer.Upload, jobtest.File(path), newDrive))
	known := &transfer.KnownImage{Size: 1 << 20, ChunkSize: 64 << 10, ChunksRoot: job.Digest.ChunksRoot}
	o := endpoints.New(nil, endpoints.Options{Roots: image.Roots{h.Path("")}})
	unchanged := func() bool {
		t.Helper()
		got, err := o.Inspect(t.Context(), []transfer.FileQuery{{Source: path, Known: known}})
		if err != nil || got[0].Error != nil {
			t.Fatal(err, got[0].Error)
		}
		return got[0].Unchanged
	}
	if err := os.Chtimes(path, time.Now(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if !unchanged() {
		t.Error("touched: got changed, want unchanged")
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("other"), 3<<16); err != nil || f.Close() != nil {
		t.Fatal(err)
	}
	if unchanged() {
		t.Error("one chunk differs: got unchanged, want changed")
	}
}
