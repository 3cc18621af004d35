package endpoints_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/transferd/transferd/internal/jobtest"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
)

// TestUploadFromBadServer: an upload, raw and compressed, from a server with common faults makes a
// drive that equals the file.
func TestUploadFromBadServer(t *testing.T) {
	h := newHarness(t)
	path := h.image(3<<20 + 512)
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(image); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	modified := time.Now().Add(-time.Hour)
	serve := func(w http.ResponseWriter, r *http.Request, etag string) {
		w.Header().Set("ETag", etag)
		stored := image
		if r.URL.Path == "/disk.img.gz" {
			stored = packed.Bytes()
		}
		http.ServeContent(w, r, "", modified, bytes.NewReader(stored))
	}
	refuse := func(code int) func(http.ResponseWriter, *http.Request, int64) {
		return func(w http.ResponseWriter, r *http.Request, n int64) {
			if n > 8 && r.Header.Get("Range") != "" {
				w.WriteHeader(code)
				return
			}
			serve(w, r, `"1"`)
		}
	}
	for name, serve := range map[string]func(http.ResponseWriter, *http.Request, int64){
		"cuts": func(w http.ResponseWriter, r *http.Request, n int64) {
			if n%3 == 2 {
				w = &transfertest.CutWriter{ResponseWriter: w, Left: 40_000}
			}
			serve(w, r, `"1"`)
		},
		"Retry-After": func(w http.ResponseWriter, r *http.Request, n int64) {
			if n == 1 || n == 3 {
				w.Header().Set("Retry-After", "1")
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			serve(&transfertest.CutWriter{ResponseWriter: w, Left: 900_000}, r, `"1"`)
		},
		"an ETag per backend": func(w http.ResponseWriter, r *http.Request, n int64) {
			serve(w, r, fmt.Sprintf(`"%d"`, n%2))
		},
		"ignores ranges": func(w http.ResponseWriter, r *http.Request, n int64) {
			if n > 8 {
				r.Header.Del("Range")
			}
			serve(w, r, `"1"`)
		},
		"416": refuse(416), "400": refuse(400), "501": refuse(501),
	} {
		for _, file := range []string{"/disk.img", "/disk.img.gz"} {
			t.Run(name+file, func(t *testing.T) {
				var requests atomic.Int64
				s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					serve(w, r, requests.Add(1))
				}))
				defer s.Close()
				up := spec(transfer.Upload, jobtest.File(s.URL+file), newDrive)
				up.Size, up.ChunkSize = 4<<20, 256<<10
				done := h.MustRun(up)
				h.MustRun(spec(transfer.Verify, jobtest.File(path), jobtest.Drive(jobtest.Here, done.Drive)))
			})
		}
	}
}
