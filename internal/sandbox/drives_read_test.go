package sandbox

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"
)

func TestReadReturnsExactlyItsRange(t *testing.T) {
	r := newRig(t)
	const size = 4<<20 + 1
	id := r.create(size)
	data := noise(size, 1)
	r.write(id, 0, data)
	for _, c := range []struct{ off, n int }{{0, 1}, {0, 4 << 20}, {1, 4 << 20}, {size - 1, 1}, {4095, 4098}} {
		a := r.get(fmt.Sprintf("/drives/%s/read/%d/%d", id, c.off, c.n))
		equal(t, a.body, data[c.off:c.off+c.n])
		if got := a.header.Get("Content-Length"); got != strconv.Itoa(c.n) {
			t.Errorf("got Content-Length %q, want %d", got, c.n)
		}
	}
	equal(t, r.get("/drives/"+id+"/read/4k/1M").body, data[4<<10:4<<10+1<<20])
	for _, args := range []string{
		"", "/0", "/0/0", "/0/4194305", "/0/5M", "/4194304/2", "/4194305/1", "/2/4M", "/x/1", "/0/x", "/-1/1", "/0/-1",
		"/9223372036854775807/4M", "/9223372036854775808/1", "/0/1.5k", "//1", "/0/",
	} {
		r.want(400, "GET", "/drives/"+id+"/read"+args, nil)
	}
}

func TestReadCompressesIfTheClientAcceptsGzip(t *testing.T) {
	r := newRig(t)
	text := bytes.Repeat([]byte("compressible, "), 100_000)
	random := noise(1<<20, 1)
	id := r.create(8 << 20)
	r.write(id, 0, text)
	r.write(id, 4<<20, random)
	for _, c := range []struct {
		accept string
		zip    bool
	}{
		{"gzip", true}, {"x-gzip", true}, {"GZIP", true}, {"deflate, gzip;q=0.5", true}, {"gzip, deflate", true},
		{"identity", false}, {"gzip;q=0", false}, {"gzip; q=0.0, deflate", false}, {"*", false}, {"deflate", false},
		{"gzipped", false}, {"gzip;q=x", false},
	} {
		a := r.want(200, "GET", fmt.Sprintf("/drives/%s/read/0/%d", id, len(text)), nil, "Accept-Encoding", c.accept)
		if got := a.header.Get("Content-Encoding") == "gzip"; got != c.zip {
			t.Errorf("%q: got gzip %v, want %v", c.accept, got, c.zip)
		}
		if got := a.header.Get("Content-Length"); got != strconv.Itoa(len(a.body)) {
			t.Errorf("%q: got Content-Length %s, want %d", c.accept, got, len(a.body))
		}
		if c.zip {
			if len(a.body) > len(text)/10 {
				t.Errorf("%q: got %d bytes, want at most %d", c.accept, len(a.body), len(text)/10)
			}
			a.body = gunzipped(t, a.body)
		}
		equal(t, a.body, text)
	}
	a := r.want(200, "GET", "/drives/"+id+"/read/4M/1M", nil, "Accept-Encoding", "gzip")
	if a.header.Get("Content-Encoding") != "" {
		t.Error("got random data compressed, want it plain")
	}
	equal(t, a.body, random)
	a = r.want(200, "GET", "/drives/"+id+"/read/6M/2M", nil, "Accept-Encoding", "gzip") // a hole
	equal(t, gunzipped(t, a.body), make([]byte, 2<<20))
	a = r.want(200, "GET", "/drives/"+id+"/read/0/10", nil, "Accept-Encoding", "gzip")
	equal(t, a.body, text[:10])
}

func TestReadWithoutAcceptEncodingIsPlain(t *testing.T) {
	r := newRig(t)
	id := r.create(1 << 20)
	req := r.request("GET", "/drives/"+id+"/read/0/1M", nil)
	req.Header.Del("Accept-Encoding")
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}, Timeout: time.Minute}
	defer client.CloseIdleConnections()
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.Header.Get("Content-Encoding") != "" || res.ContentLength != 1<<20 {
		t.Errorf("got %v, want 1 MiB without Content-Encoding", res.Header)
	}
}
