package sandbox

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
)

const benchSize = 256 << 20

// benchmarkChunks runs call for the chunks of 4 MiB of a drive of 256 MiB in turn, in as many
// goroutines as there are processors.
func benchmarkChunks(b *testing.B, call func(r *rig, c *http.Client, id string, off int64)) {
	r := newRig(b)
	id := r.create(benchSize)
	for off := int64(0); off < benchSize; off += maxRead {
		r.write(id, off, noise(maxRead, uint64(off)))
	}
	client := &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}}
	defer client.CloseIdleConnections()
	var next atomic.Int64
	b.SetBytes(maxRead)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			call(r, client, id, next.Add(1)*maxRead%benchSize)
		}
	})
}

func finish(b *testing.B, client *http.Client, req *http.Request, status int, length int64) {
	res, err := client.Do(req)
	if err != nil {
		b.Error(err)
		return
	}
	defer res.Body.Close()
	n, err := io.Copy(io.Discard, res.Body)
	if err != nil || res.StatusCode != status || n != length {
		b.Errorf("got %d, %d bytes, %v; want %d, %d bytes", res.StatusCode, n, err, status, length)
	}
}

func BenchmarkRead(b *testing.B) {
	benchmarkChunks(b, func(r *rig, client *http.Client, id string, off int64) {
		path := "/drives/" + id + "/read/" + strconv.FormatInt(off, 10) + "/4M"
		finish(b, client, r.request("GET", path, nil), 200, maxRead)
	})
}

func BenchmarkWrite(b *testing.B) {
	data := noise(maxRead, 1)
	benchmarkWrite(b, data, data)
}

func BenchmarkWriteZeros(b *testing.B) { benchmarkWrite(b, zeros[:], zeros[:]) }

func BenchmarkWriteGzip(b *testing.B) {
	half := concat(noise(maxRead/2, 1), bytes.Repeat([]byte("compressible, "), maxRead/28))
	benchmarkWrite(b, half, gzipped(b, half), "Content-Encoding", "gzip")
}

func benchmarkWrite(b *testing.B, data, body []byte, header ...string) {
	if len(data) > maxRead {
		b.Fatalf("%d bytes of data are more than %d", len(data), maxRead)
	}
	benchmarkChunks(b, func(r *rig, client *http.Client, id string, off int64) {
		path := "/drives/" + id + "/write/" + strconv.FormatInt(off, 10)
		finish(b, client, r.request("POST", path, bytes.NewReader(body), header...), 204, 0)
	})
}

func BenchmarkReadGzip(b *testing.B) {
	r := newRig(b)
	id := r.create(maxRead)
	r.write(id, 0, bytes.Repeat([]byte("compressible, "), maxRead/14))
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	defer client.CloseIdleConnections()
	b.SetBytes(maxRead)
	for b.Loop() {
		res, err := client.Do(r.request("GET", "/drives/"+id+"/read/0/4M", nil, "Accept-Encoding", "gzip"))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			b.Fatal(err)
		}
		_ = res.Body.Close()
	}
}
