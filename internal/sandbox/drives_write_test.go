package sandbox

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func TestWriteStoresAtBoundaries(t *testing.T) {
	const size = 3*granule + 17
	r := newRig(t)
	for _, n := range []int{0, 1, 2, page, granule - 1, granule, granule + 1, blockSize, size - 1, size} {
		for _, off := range []int{0, 1, granule - 1, granule, size - n} {
			if off+n > size || off < 0 {
				continue
			}
			id := r.create(size)
			old, data := noise(size, 1), noise(n, 2)
			r.write(id, 0, old)
			r.write(id, int64(off), data)
			want := concat(old[:off], data, old[off+n:])
			equal(t, r.read(id, 0, size), want)
			path := "/drives/" + id + "/write/" + strconv.Itoa(off)
			r.want(204, "POST", path, gzipped(t, data), "Content-Encoding", "GZIP")
			equal(t, r.read(id, 0, size), want)
			r.want(204, "POST", "/drives/"+id+"/destroy", nil)
		}
	}
}

func TestWriteStoresAtItsOffset(t *testing.T) {
	r := newRig(t)
	id := r.create(4 << 20)
	r.want(204, "POST", "/drives/"+id+"/write", []byte("a"))
	r.want(204, "POST", "/drives/"+id+"/write/1k", []byte("b"))
	r.want(204, "POST", "/drives/"+id+"/write/4M", nil) // no bytes at the end
	for _, off := range []string{
		"x", "-1", "1.5k", "+1", "", "9223372036854775808", "8388608T", "4194305", "9223372036854775807",
	} {
		r.want(400, "POST", "/drives/"+id+"/write/"+off, []byte("c"))
	}
	equal(t, r.read(id, 0, 1), []byte("a"))
	equal(t, r.read(id, 1024, 1), []byte("b"))
}

func TestWritePastTheEndStoresNothing(t *testing.T) {
	r := newRig(t)
	const size = 100
	id := r.create(size)
	for _, body := range [][]byte{noise(101, 1), noise(size+4<<20, 1), bytes.Repeat([]byte{1}, 9<<20)} {
		r.want(400, "POST", "/drives/"+id+"/write", body)
		r.want(400, "POST", "/drives/"+id+"/write/50", body[:51])
		r.want(400, "POST", "/drives/"+id+"/write", gzipped(t, body), "Content-Encoding", "gzip")
		r.want(400, "POST", "/drives/"+id+"/write/100", []byte{1})
		equal(t, r.read(id, 0, size), make([]byte, size))
	}
}

func TestGzipBodyIsStoredWholeOrNotAtAll(t *testing.T) {
	r := newRig(t)
	const size = 6 << 20
	data := concat(noise(1<<20, 1), make([]byte, 4<<20), noise(1<<20, 2)) // more than staging holds in memory
	half := concat(gzipped(t, data[:1000]), gzipped(t, nil), gzipped(t, data[1000:]))
	for name, body := range map[string][]byte{"one member": gzipped(t, data), "several members": half} {
		id := r.create(size)
		r.want(204, "POST", "/drives/"+id+"/write", body, "Content-Encoding", "gzip")
		t.Run(name, func(t *testing.T) { equal(t, r.read(id, 0, size), data) })
	}
	id := r.create(size)
	r.want(204, "POST", "/drives/"+id+"/write", gzipped(t, nil), "Content-Encoding", "gzip")
	small, large := gzipped(t, data[:5000]), gzipped(t, data)
	flipped := bytes.Clone(small)
	flipped[len(flipped)-6] ^= 1 // in the checksum
	flippedLarge := bytes.Clone(large)
	flippedLarge[len(large)-6] ^= 1
	stored := bytes.Clone(small)
	stored[len(stored)/2] ^= 0x10
	for name, body := range map[string][]byte{
		"empty":                {},
		"no gzip":              []byte("plain text that is no gzip"),
		"header only":          small[:10],
		"half":                 small[:len(small)/2],
		"no trailer":           small[:len(small)-8],
		"short trailer":        small[:len(small)-1],
		"checksum":             flipped,
		"damaged":              stored,
		"trailing byte":        concat(small, []byte{0}),
		"trailing text":        concat(small, []byte("and something that follows")),
		"half a member more":   concat(small, small[:20]),
		"half a member's name": concat(small, []byte("\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\x03disk")),
		"large, checksum":      flippedLarge,
		"large, half":          large[:len(large)/2],
		"large, trailing":      concat(large, []byte{0, 0}),
	} {
		a := r.want(400, "POST", "/drives/"+id+"/write", body, "Content-Encoding", "gzip")
		contains(t, a.body, "gzip")
		if got := r.read(id, 0, size); !isZero(got) {
			t.Errorf("%s: got bytes that are stored, want none", name)
		}
	}
	for _, encoding := range []string{"deflate", "br", "gzip, gzip", "zstd"} {
		r.want(400, "POST", "/drives/"+id+"/write", small, "Content-Encoding", encoding)
	}
}

// bomb is 64 MiB of zeros in 64 KiB.
func bomb(t *testing.T) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	for range 16 {
		if _, err := w.Write(zeros[:]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestInflatedBodyIsLimited(t *testing.T) {
	r := newRig(t)
	body := bomb(t)
	id := r.create(64 << 20)
	r.want(400, "POST", "/drives/"+id+"/write/1", body, "Content-Encoding", "gzip")
	r.want(204, "POST", "/drives/"+id+"/write/0", body, "Content-Encoding", "gzip")
	if got := allocated(t, r, id); got != 0 {
		t.Errorf("got %d bytes allocated for zeros, want none", got)
	}
	st := newStaging(t.TempDir())
	defer st.close()
	if _, err := st.inflate(bytes.NewReader(body), 100); !errors.Is(err, errTooMuch) || st.file != nil {
		t.Errorf("got %v, file %v; want %v, no file", err, st.file, errTooMuch)
	}
}

// allocated is the number of bytes on disk that the drive takes.
func allocated(t testing.TB, r *rig, id string) int64 {
	t.Helper()
	info, err := os.Stat(r.s.drives.dataPath(id))
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Blocks * 512
}

func TestZerosTakeNoSpace(t *testing.T) {
	r := newRig(t)
	const size = 64 << 20
	id := r.create(size)
	check := func(what string, most int64) {
		t.Helper()
		if got := allocated(t, r, id); got > most {
			t.Errorf("%s: got %d bytes allocated, want at most %d", what, got, most)
		}
	}
	check("created", 0)
	for off := int64(0); off < size; off += 4 << 20 {
		r.write(id, off, make([]byte, 4<<20))
	}
	check("zeros written", 0)
	mixed := concat(noise(granule, 1), make([]byte, 10*granule), noise(granule, 2), make([]byte, 4*granule))
	r.write(id, 4<<20, mixed)
	check("two granules of data", 3*granule)
	equal(t, r.read(id, 4<<20, int64(len(mixed))), mixed)
	r.read(id, 0, size)
	check("read", 3*granule)
	r.write(id, 8<<20, noise(4<<20, 3))
	r.write(id, 8<<20, make([]byte, 4<<20))
	check("data overwritten with zeros", 3*granule)
	r.write(id, 4<<20+100, make([]byte, granule+1000))
	copy(mixed[100:], make([]byte, granule+1000))
	equal(t, r.read(id, 4<<20, int64(len(mixed))), mixed)
}

func TestChunkedTransferIsRefused(t *testing.T) {
	r := newRig(t)
	id := r.create(100)
	for _, path := range []string{id + "/write", "create", id + "/set", id + "/clone"} {
		c := r.dial()
		head := r.head("POST /drives/"+path, "Transfer-Encoding: chunked")
		if _, err := io.WriteString(c, head+"3\r\nabc\r\n0\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(c), nil) //nolint:bodyclose // the connection is closed
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		if res.StatusCode != 400 || !res.Close || err != nil {
			t.Errorf("%s: got %v, %v; want 400 and a closed connection", path, res, err)
		}
		contains(t, text, "hunked", "not supported")
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("%s: got %v from the connection, want EOF", path, err)
		}
	}
	equal(t, r.read(id, 0, 3), make([]byte, 3))
}

func TestWriteNeedsContentLength(t *testing.T) {
	r := newRig(t)
	c := r.dial()
	if _, err := io.WriteString(c, r.head("POST /drives/"+r.create(1)+"/write")); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil) //nolint:bodyclose // the connection is closed
	if err != nil || res.StatusCode != 400 {
		t.Fatalf("got %v, %v; want 400", res, err)
	}
}

func TestShortBodyIsAnError(t *testing.T) {
	r := newRig(t)
	id := r.create(100)
	for _, header := range []string{"Content-Type: x", "Content-Encoding: gzip"} {
		c := r.dial()
		head := r.head("POST /drives/"+id+"/write", "Content-Length: 50", header)
		if _, err := io.WriteString(c, head+string(gzipped(t, []byte("abc")))); err != nil {
			t.Fatal(err)
		}
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(c), nil) //nolint:bodyclose // the connection is closed
		if err != nil || res.StatusCode != 400 {
			t.Fatalf("%s: got %v, %v; want 400", header, res, err)
		}
	}
}

// TestWritesRunInParallel holds one write in the middle of its body while others to the same drive
// succeed.
func TestWritesRunInParallel(t *testing.T) {
	r := newRig(t)
	id := r.create(8 << 20)
	data := noise(1<<20, 1)
	c := r.dial()
	head := r.head("POST /drives/"+id+"/write/4M", "Content-Length: 1048576")
	if _, err := io.WriteString(c, head+string(data[:512<<10])); err != nil {
		t.Fatal(err)
	}
	other := noise(1<<20, 2)
	r.write(id, 0, other)
	r.post("/drives/"+id+"/set", "name changed meanwhile\nsize 7M")
	if _, err := c.Write(data[512<<10:]); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil) //nolint:bodyclose // the connection is closed
	if err != nil || res.StatusCode != 204 {
		t.Fatalf("got %v, %v; want 204", res, err)
	}
	equal(t, r.read(id, 0, 1<<20), other)
	equal(t, r.read(id, 4<<20, 1<<20), data)
}

// TestWriteFailsIfTheDriveChanges: a write fails if the drive is destroyed or shrinks while the
// body arrives.
func TestWriteFailsIfTheDriveChanges(t *testing.T) {
	r := newRig(t)
	for change, want := range map[string]int{"destroy": 404, "set": 400} {
		id := r.create(2 << 20)
		c := r.dial()
		head := r.head("POST /drives/"+id+"/write/1M", "Content-Length: 1048576", "Expect: 100-continue")
		if _, err := io.WriteString(c, head); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(c)
		// After this line the write waits for its body.
		if line, err := in.ReadString('\n'); err != nil || !strings.Contains(line, "100") {
			t.Fatalf("got %q, %v; want 100 Continue", line, err)
		}
		if _, err := in.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		if a := r.do("POST", "/drives/"+id+"/"+change, []byte("size 1M")); a.status >= 300 {
			t.Fatalf("%s: got %d %q, want success", change, a.status, a.body)
		}
		if _, err := c.Write(noise(1<<20, 1)); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(in, nil) //nolint:bodyclose // the connection is closed
		if err != nil || res.StatusCode != want {
			t.Errorf("%s: got %v, %v; want %d", change, res, err, want)
		}
		if change == "set" {
			if got := allocated(t, r, id); got != 0 {
				t.Errorf("got %d bytes allocated past the end, want none", got)
			}
		}
	}
}

func TestLargeWriteIsStored(t *testing.T) {
	r := newRig(t)
	data := noise(64<<20, 1)
	id := r.create(int64(len(data)) + 5)
	r.write(id, 5, data)
	equal(t, r.read(id, 5, int64(len(data))), data)
}

func TestParallelWritesOfOneDriveAreStored(t *testing.T) {
	r := newRig(t)
	const size, chunk = 16 << 20, 1 << 20
	data := noise(size, 1)
	id := r.create(size)
	var group sync.WaitGroup
	for off := 0; off < size; off += chunk {
		group.Go(func() { r.write(id, int64(off), data[off:off+chunk]) })
	}
	group.Wait()
	equal(t, r.read(id, 0, size), data)
	if got := value(r.info(id), "write:bytes"); got != strconv.Itoa(size) {
		t.Errorf("got write:bytes %s, want %d", got, size)
	}
}
