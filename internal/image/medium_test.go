package image

import (
	"bytes"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// TestURLThatChangesWhileItIsOpenedIsRefused: the server responds to the request for the first
// bytes with one version of a compressed image, and to that for the whole with another. The bytes
// must be of the version in Identity.
func TestURLThatChangesWhileItIsOpenedIsRefused(t *testing.T) {
	first, second := gzipped(t, []byte("the first image")), gzipped(t, []byte("another image"))
	var requests atomic.Int64
	s := server(t, func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1) == 1 {
			content(`"1"`, first)(w, r)
			return
		}
		content(`"2"`, second)(w, r)
	})
	_, err := Open(t.Context(), s.URL+"/x.img.gz", Options{})
	expectAt(t, err, transfer.CodeSourceChanged, 0)
}

// TestMeasureReadsOnlyFilesTwice: even with Measure, the size of other media is unknown before the
// end.
func TestMeasureReadsOnlyFilesTwice(t *testing.T) {
	image := bytes.Repeat([]byte("an image "), 1000)
	stored := gzipped(t, image)
	var requests atomic.Int64
	s := server(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") == "" {
			requests.Add(1)
		}
		content(`"1"`, stored)(w, r)
	})
	for path, want := range map[string]int64{
		tempFile(t, "x.img.gz", stored): int64(len(image)), s.URL + "/x.img.gz": -1, "-": -1,
	} {
		src := open(t, path, Options{Measure: true, Stdin: bytes.NewReader(stored)})
		if src.Size() != want {
			t.Errorf("%s: got size %d, want %d", path, src.Size(), want)
		}
		closed(t, src)
	}
	if n := requests.Load(); n != 1 {
		t.Errorf("got %d requests for the whole image, want 1", n)
	}
}
