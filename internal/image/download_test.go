package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
)

// retryAtOnce retries an error that may be temporary without a wait, at most tries times.
func retryAtOnce(tries int) Retry {
	return func(ctx context.Context, op func(context.Context) error) error {
		err := op(ctx)
		for i := 0; i < tries && transfer.CodeOf(err).Retry() == transfer.RetryCall; i++ {
			err = op(ctx)
		}
		return err
	}
}

// backend is a server of one image.
type backend struct {
	stored   []byte
	etag     string
	modified time.Time
	ranges   bool
	most     int64 // bytes of a response before the connection is cut; 0: all
}

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if b.etag != "" {
		w.Header().Set("ETag", b.etag)
	}
	if !b.ranges {
		r.Header.Del("Range")
	}
	if b.most > 0 {
		w = &transfertest.CutWriter{ResponseWriter: w, Left: b.most}
	}
	http.ServeContent(w, r, "", b.modified, bytes.NewReader(b.stored))
}

// random is n bytes that do not compress.
func random(n int) []byte {
	p, rng := make([]byte, n), rand.NewChaCha8([32]byte{1})
	_, _ = rng.Read(p)
	return p
}

// TestCutStreamIsContinuedByRanges: if the server cuts each response off, ranges continue the
// image, compressed or not, until it is complete.
func TestCutStreamIsContinuedByRanges(t *testing.T) {
	content := random(2 << 20)
	const most = 300 << 10
	for format, store := range storedAs() {
		stored := store.pack(t, content)
		t.Run(format, func(t *testing.T) {
			var requests, bodies atomic.Int64
			b := &backend{stored: stored, etag: `"1"`, ranges: true, most: most}
			s := server(t, func(w http.ResponseWriter, r *http.Request) {
				if n := requests.Add(1); n > 2 && (r.Header.Get("Range") == "" || r.Header.Get("If-Range") != `"1"`) {
					t.Errorf("request %d: got %v, want Range and If-Range", n, r.Header)
				}
				bodies.Add(1)
				b.ServeHTTP(w, r)
			})
			src := open(t, s.URL+"/x.img"+store.ending, Options{
				Retry: retryAtOnce(1), DefaultSpool: tempDir(t), InOrder: true,
			})
			defer closed(t, src)
			got, err := drain(t, src)
			if err != nil || !bytes.Equal(got, content) {
				t.Fatalf("got %d bytes, %v; want %d", len(got), err, len(content))
			}
			if n := requests.Load(); n < int64(len(stored))/most || n > int64(len(stored))/most+3 {
				t.Errorf("got %d requests for %d bytes, want one for each %d", n, len(stored), most)
			}
		})
	}
}

// TestCutStreamWithoutRangesIsReadAgain: if the server has no ranges, or refuses a later one, the
// image is read again from its start.
func TestCutStreamWithoutRangesIsReadAgain(t *testing.T) {
	content := random(1 << 20)
	stored := gzipped(t, content)
	modified := time.Now().Add(-time.Hour)
	whole := &backend{stored: stored, etag: `"1"`, modified: modified}
	for name, later := range map[string]http.Handler{
		"no ranges": whole,
		"416":       status(416), "400": status(400), "501": status(501), "403": status(403), "405": status(405),
		"another range":       rangeOf("bytes 0-99/1000", make([]byte, 100)),
		"no version":          &backend{stored: stored, ranges: true},
		"an ETag per backend": &backend{stored: stored, etag: `"2"`, modified: modified, ranges: true},
		"another modification": &backend{
			stored: stored, etag: `"1"`, modified: modified.Add(time.Second), ranges: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int32
			first := &backend{stored: stored, etag: `"1"`, modified: modified, most: 500 << 10}
			first.ranges = name != "no ranges"
			s := server(t, func(w http.ResponseWriter, r *http.Request) {
				switch n := requests.Add(1); {
				case n <= 2:
					first.ServeHTTP(w, r)
				case r.Header.Get("Range") != "":
					later.ServeHTTP(w, r)
				default:
					whole.ServeHTTP(w, r)
				}
			})
			src := open(t, s.URL+"/x.img.gz", Options{Retry: retryAtOnce(3)})
			defer closed(t, src)
			if got, err := drain(t, src); err != nil || !bytes.Equal(got, content) {
				t.Fatalf("got %d bytes, %v; want %d", len(got), err, len(content))
			}
		})
	}
}

// TestReplacedImageIsNotContinued: a download does not continue with another image, even of the
// same length.
func TestReplacedImageIsNotContinued(t *testing.T) {
	stored := gzipped(t, random(1<<20))
	other := bytes.Clone(stored)
	other[1000] ^= 1
	for name, later := range map[string][]byte{"bytes": other, "length": other[:len(other)-1]} {
		var requests atomic.Int32
		s := server(t, func(w http.ResponseWriter, r *http.Request) {
			if requests.Add(1) == 1 {
				(&backend{stored: stored, etag: `"1"`, most: 500 << 10}).ServeHTTP(w, r)
				return
			}
			(&backend{stored: later, etag: `"2"`, ranges: true}).ServeHTTP(w, r)
		})
		src := open(t, s.URL+"/x.img.gz", Options{Retry: retryAtOnce(3)})
		_, err := drain(t, src)
		if expect(t, err, transfer.CodeSourceChanged, "start a new job"); !strings.Contains(err.Error(), "changed") {
			t.Errorf("%s: got %v, want \"changed\" in it", name, err)
		}
		closed(t, src)
	}
}

// TestDownloadEndsAfterMaxRestarts: a download fails after maxRestarts if the server never sends
// the whole image.
func TestDownloadEndsAfterMaxRestarts(t *testing.T) {
	var requests atomic.Int64
	stored := gzipped(t, random(1<<20))
	s := server(t, func(w http.ResponseWriter, r *http.Request) {
		(&backend{stored: stored, most: 500<<10 + requests.Add(1)}).ServeHTTP(w, r)
	})
	src := open(t, s.URL+"/x.img.gz", Options{Retry: retryAtOnce(3)})
	defer closed(t, src)
	_, err := drain(t, src)
	expect(t, err, transfer.CodeProtocol, "cut it off", "by hand")
	if n := requests.Load(); n > maxRestarts+3 {
		t.Errorf("got %d requests, want at most %d", n, maxRestarts+3)
	}
}

// TestMissingRangesAreErrInOrder: when the server no longer sends ranges, the fourth such response
// is ErrInOrder. When the servers of a cluster disagree on the ETag, the first one is.
func TestMissingRangesAreErrInOrder(t *testing.T) {
	data, modified := random(10_000), time.Now().Add(-time.Hour)
	for name, tc := range map[string]struct {
		later http.Handler
		tries int
	}{
		"200": {&backend{stored: data, etag: `"1"`, modified: modified}, rangeTries},
		"416": {status(416), rangeTries}, "400": {status(400), rangeTries}, "501": {status(501), rangeTries},
		"an ETag per backend, 200": {&backend{stored: data, etag: `"2"`, modified: modified, ranges: true}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var now atomic.Pointer[http.Handler]
			set := func(h http.Handler) { now.Store(&h) }
			set(&backend{stored: data, etag: `"1"`, modified: modified, ranges: true})
			s := server(t, func(w http.ResponseWriter, r *http.Request) { (*now.Load()).ServeHTTP(w, r) })
			src := open(t, s.URL+"/x.img", Options{})
			defer closed(t, src)
			set(tc.later)
			for try := 0; ; try++ {
				_, err := drain(t, src)
				if try < tc.tries {
					expect(t, err, transfer.CodeServer)
					continue
				}
				if expect(t, err, transfer.CodeProtocol); !errors.Is(err, transfer.ErrInOrder) {
					t.Fatalf("try %d: got %v, want ErrInOrder", try, err)
				}
				break
			}
			if tc.tries > 0 && name != "200" {
				return
			}
			again := open(t, s.URL+"/x.img", Options{InOrder: true})
			defer closed(t, again)
			if got, err := drain(t, again); err != nil || !bytes.Equal(got, data) {
				t.Errorf("in order: got %d bytes, %v; want %d", len(got), err, len(data))
			}
			if r := again.(transfer.Stream); r.Size() != src.Size() {
				t.Errorf("got size %d, want %d", r.Size(), src.Size())
			}
		})
	}
}

// TestServerThatRefusesRangesIsReadInOrder: an image is read in order if its server refuses any
// range.
func TestServerThatRefusesRangesIsReadInOrder(t *testing.T) {
	data := random(10_000)
	for _, code := range []int{400, 403, 416, 500, 501} {
		s := server(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				w.WriteHeader(code)
				return
			}
			(&backend{stored: data}).ServeHTTP(w, r)
		})
		src := open(t, s.URL+"/x.img", Options{})
		if got, err := drain(t, src); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d: got %d bytes, %v; want %d", code, len(got), err, len(data))
		}
		closed(t, src)
	}
}

// TestPageInPlaceOfAnImageIsRetried: a read continues after the server has sent pages for a while
// in place of the image.
func TestPageInPlaceOfAnImageIsRetried(t *testing.T) {
	data := random(1 << 20)
	for name, ranges := range map[string]bool{"by offset": true, "in order": false} {
		var pages, most atomic.Int64
		most.Store(600 << 10) // of the first response
		s := server(t, func(w http.ResponseWriter, r *http.Request) {
			if pages.Add(-1) >= 0 {
				w.Header().Set("Content-Type", "text/html; charset=utf-8")
				_, _ = w.Write([]byte("<html>back in a minute"))
				return
			}
			b := &backend{stored: data, etag: `"1"`, ranges: ranges, most: most.Swap(0)}
			b.ServeHTTP(w, r)
		})
		src := open(t, s.URL+"/x.img", Options{Retry: retryAtOnce(3)})
		pages.Store(2)
		for range 2 {
			if ranges { // the engine repeats these reads
				_, err := drain(t, src)
				expect(t, err, transfer.CodeServer, "a page in place of the image")
			}
		}
		if got, err := drain(t, src); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: got %d bytes, %v; want all of them", name, len(got), err)
		}
		closed(t, src)
	}
}

// TestExpiredRedirectIsFollowedAgain: when the address of a redirect expires, the redirect is
// followed again. When the given URL itself has expired, the hint says so.
func TestExpiredRedirectIsFollowedAgain(t *testing.T) {
	data := random(10_000)
	for _, code := range []int{400, 403} {
		var valid, given atomic.Int64
		files := server(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("n") != string(rune('0'+valid.Load())) {
				w.WriteHeader(code)
				return
			}
			(&backend{stored: data, etag: `"1"`, ranges: true}).ServeHTTP(w, r)
		})
		origin := server(t, func(w http.ResponseWriter, r *http.Request) {
			given.Add(1)
			http.Redirect(w, r, files.URL+"/x.img?n="+string(rune('0'+valid.Load())), http.StatusFound)
		})
		src := open(t, origin.URL+"/x.img", Options{})
		valid.Add(1)
		if got, err := drain(t, src); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d: got %d bytes, %v; want %d", code, len(got), err, len(data))
		}
		if given.Load() != 2 {
			t.Errorf("%d: got %d requests to the origin, want 2", code, given.Load())
		}
		closed(t, src)
		_, err := Open(t.Context(), files.URL+"/x.img?n=0", Options{})
		f := transfer.FailureOf(err)
		if f == nil || !strings.Contains(f.Hint, "expired") || !strings.Contains(f.Hint, "new one") {
			t.Errorf("%d: got %v, %+v; want a hint with expired and new one", code, err, f)
		}
	}
}

// TestCutRangesCompleteAChunk: a chunk is complete although each response contains only a part of
// it, because it is cut off, or because the server sends less than requested.
func TestCutRangesCompleteAChunk(t *testing.T) {
	data := random(1 << 20)
	b := &backend{stored: data, etag: `"1"`, ranges: true, most: 100 << 10}
	for name, h := range map[string]http.HandlerFunc{
		"cut": b.ServeHTTP,
		"less": func(w http.ResponseWriter, r *http.Request) {
			var first, last int64
			if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &first, &last); err != nil {
				t.Error(err)
			}
			r.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", first, min(last, first+99_999)))
			(&backend{stored: data, etag: `"1"`, ranges: true}).ServeHTTP(w, r)
		},
	} {
		src := open(t, server(t, h).URL+"/x.img", Options{})
		if got, err := drain(t, src); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: got %d bytes, %v; want all of them", name, len(got), err)
		}
		closed(t, src)
	}
}
