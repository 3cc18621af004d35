package api

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"github.com/transferd/transferd/internal/codec"
	"github.com/transferd/transferd/internal/sandbox"
	"github.com/transferd/transferd/internal/sandboxtest"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
)

// inSandbox is a client of a new sandbox.
func inSandbox(t *testing.T) *Client {
	t.Helper()
	cfg := sandbox.Config{Dir: filepath.Join(t.TempDir(), "data"), User: "ops", Password: password}
	_, url := sandboxtest.Start(t, cfg)
	return client(t, Config{URL: url})
}

func newDrive(t *testing.T, c *Client, size int64) DriveInfo {
	t.Helper()
	info, err := c.CreateDrive(t.Context(), CreateOptions{Name: "test", Size: size})
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func openDrive(t *testing.T, c *Client, uuid string) *Drive {
	t.Helper()
	d, err := OpenDrive(t.Context(), c, uuid)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestDriveKeepsTheContract runs the conformance suite for drives of a sandbox, over HTTP.
func TestDriveKeepsTheContract(t *testing.T) {
	c := inSandbox(t)
	shape := transfertest.Shape{Chunk: 64 << 10, Unit: 512}
	t.Run("source", func(t *testing.T) {
		transfertest.Source(t, shape, func(t *testing.T, content []byte) transfer.Source {
			info := newDrive(t, c, int64(len(content)))
			d := openDrive(t, c, info.UUID).ForWriting(codec.NewCodec(transfer.CompressionNone), true)
			for i := range transfer.ChunkCount(d.Size(), shape.Chunk) {
				ch := transfer.ChunkAt(i, d.Size(), shape.Chunk)
				if err := d.WriteChunk(t.Context(), ch, content[ch.Off:ch.Off+int64(ch.Len)]); err != nil {
					t.Fatal(err)
				}
			}
			return openDrive(t, c, info.UUID)
		})
	})
	for _, compression := range []transfer.Compression{transfer.CompressionNone, transfer.CompressionAuto, 9} {
		t.Run("sink "+compression.String(), func(t *testing.T) {
			transfertest.Sink(t, shape, func(t *testing.T, size int64) transfertest.Target {
				return driveTarget(t, c, size, compression)
			})
		})
	}
}

func driveTarget(t *testing.T, c *Client, size int64, compression transfer.Compression) transfertest.Target {
	info := newDrive(t, c, size)
	return transfertest.Target{
		InPlace: true,
		Open: func(t *testing.T, _ bool) transfer.Sink {
			return openDrive(t, c, info.UUID).ForWriting(codec.NewCodec(compression), true)
		},
		Stored: func(t *testing.T) ([]byte, bool) {
			if _, err := c.Drive(t.Context(), info.UUID); transfer.CodeOf(err) == transfer.CodeNotFound {
				return nil, false
			}
			content := make([]byte, size)
			for i := range transfer.ChunkCount(size, 1<<20) {
				ch := transfer.ChunkAt(i, size, 1<<20)
				p := content[ch.Off : ch.Off+int64(ch.Len)]
				if err := openDrive(t, c, info.UUID).ReadChunk(t.Context(), ch, p); err != nil {
					t.Fatal(err)
				}
			}
			return content, true
		},
	}
}

// TestWriteSendsLengthAndEncoding: a chunk is sent with its Content-Length, and compressed only
// with a Content-Encoding, as the manual demands.
func TestWriteSendsLengthAndEncoding(t *testing.T) {
	noise := make([]byte, 100_000)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	for _, tc := range []struct {
		compression transfer.Compression
		data        []byte
		gzip        bool
	}{
		{transfer.CompressionNone, repeat('x', 100_000), false},
		{transfer.CompressionAuto, repeat('x', 100_000), true},
		{transfer.CompressionAuto, noise, false}, {1, repeat('x', 512), true},
	} {
		var got calls
		c := newEndpoint(t, func(_ http.ResponseWriter, r *http.Request) { got.record(r) })
		chunk := transfer.Chunk{Off: 512, Len: len(tc.data)}
		if err := drive(c, 1<<20, tc.compression).WriteChunk(t.Context(), chunk, tc.data); err != nil {
			t.Fatal(err)
		}
		w := got.list[0]
		if want := "/drives/" + uuid + "/write/512"; w.method != "POST" || w.path != want {
			t.Errorf("got %s %s, want POST %s", w.method, w.path, want)
		}
		if w.length != int64(len(w.body)) || len(w.encoding) > 0 {
			t.Errorf("got Content-Length %d, Transfer-Encoding %v; want %d and none", w.length, w.encoding, len(w.body))
		}
		user, pass, ok := (&http.Request{Header: w.header}).BasicAuth()
		if user != "ops" || pass != password || !ok || w.header.Get("Expect") != "" {
			t.Errorf("got user %q, password %q, header %v; want those of the endpoint, no Expect", user, pass, w.header)
		}
		body := []byte(w.body)
		if (w.header.Get("Content-Encoding") == "gzip") != tc.gzip {
			t.Errorf("%s: got encoding %q, want gzip: %t", tc.compression, w.header.Get("Content-Encoding"), tc.gzip)
		}
		if tc.gzip {
			z, err := gzip.NewReader(strings.NewReader(w.body))
			if err != nil {
				t.Fatal(err)
			}
			if body, err = io.ReadAll(z); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(body, tc.data) {
			t.Errorf("got %d other bytes, want the %d that were written", len(body), len(tc.data))
		}
	}
}

// TestFirstWriteEndsProbing: the codec observes writes, so that only the first chunk is sent with a
// probe.
func TestFirstWriteEndsProbing(t *testing.T) {
	c := newEndpoint(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	d := drive(c, 4<<20, transfer.CompressionAuto)
	if err := d.WriteChunk(t.Context(), transfer.Chunk{Len: 4 << 20}, repeat('z', 4<<20)); err != nil {
		t.Fatal(err)
	}
	if n := d.codec.Probe(4<<20, 0); n != 0 {
		t.Errorf("after a write: got a probe of %d bytes, want none", n)
	}
}

// TestUnsentProbeIsLeftToTheNextChunk: a chunk that is prepared but not written leaves the probe to
// the next one.
func TestUnsentProbeIsLeftToTheNextChunk(t *testing.T) {
	c := newEndpoint(t, func(http.ResponseWriter, *http.Request) { t.Error("got a call, want none") })
	d, p := drive(c, 4<<20, transfer.CompressionAuto), repeat('z', 4<<20)
	d.Prepare(transfer.Chunk{Len: len(p)}, p).Release()
	if n := d.codec.Probe(len(p), 0); n == 0 {
		t.Error("after a probe that was not sent: got no probe, want one")
	}
}

// TestBufferIsFreeAfterAnEarlyResponse: after a 409 that comes before the body was read, nothing
// reads the chunk's buffer.
func TestBufferIsFreeAfterAnEarlyResponse(t *testing.T) {
	c := newEndpoint(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusConflict) })
	p := make([]byte, MaxChunk)
	for i := range 20 {
		err := drive(c, 8<<20, transfer.CompressionNone).WriteChunk(t.Context(), transfer.Chunk{Len: len(p)}, p)
		expect(t, err, transfer.CodeConflict)
		for j := range p {
			p[j] = byte(i) // the race detector reports a goroutine that still reads p
		}
	}
}

func gzipped(data []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(data)
	_ = z.Close()
	return b.Bytes()
}

// TestReadsOfOtherThanTheRequestedBytesFail: a response that is too short, too long, damaged or in
// an unknown encoding is an error.
func TestReadsOfOtherThanTheRequestedBytesFail(t *testing.T) {
	const n = 10_000
	respond := func(body []byte, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			_, _ = w.Write(body)
		}
	}
	streamed := func(body []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).Flush() // no length is announced
			_, _ = w.Write(body)
		}
	}
	cut := func(announced, sent int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(announced))
			_, _ = w.Write(make([]byte, sent))
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
	}
	good, bomb := gzipped(make([]byte, n)), gzipped(make([]byte, 64<<20))
	torn := bytes.Clone(good)
	torn[len(torn)-6] ^= 1
	for name, tc := range map[string]struct {
		h    http.HandlerFunc
		code transfer.Code
	}{
		"right":                {respond(make([]byte, n)), ""},
		"right, streamed":      {streamed(make([]byte, n)), ""},
		"right, compressed":    {respond(good, "Content-Encoding", "gzip"), ""},
		"short":                {respond(make([]byte, n-1)), transfer.CodeNetwork},
		"short, streamed":      {streamed(make([]byte, n-1)), transfer.CodeNetwork},
		"long":                 {respond(make([]byte, n+1)), transfer.CodeNetwork},
		"long, streamed":       {streamed(make([]byte, n+1)), transfer.CodeNetwork},
		"cut off":              {cut(n, n/2), transfer.CodeNetwork},
		"nothing":              {cut(n, 0), transfer.CodeNetwork},
		"short, compressed":    {respond(gzipped(make([]byte, n-1)), "Content-Encoding", "gzip"), transfer.CodeNetwork},
		"long, compressed":     {respond(gzipped(make([]byte, n+1)), "Content-Encoding", "gzip"), transfer.CodeNetwork},
		"bomb":                 {respond(bomb, "Content-Encoding", "gzip"), transfer.CodeNetwork},
		"torn, compressed":     {respond(good[:len(good)/2], "Content-Encoding", "gzip"), transfer.CodeNetwork},
		"checksum, compressed": {respond(torn, "Content-Encoding", "gzip"), transfer.CodeNetwork},
		"not compressed":       {respond(make([]byte, n), "Content-Encoding", "gzip"), transfer.CodeNetwork},
		"strange encoding":     {respond(make([]byte, n), "Content-Encoding", "br"), transfer.CodeProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			c := newEndpoint(t, tc.h)
			d := drive(c, 1<<20, transfer.CompressionNone)
			expect(t, d.ReadChunk(t.Context(), transfer.Chunk{Len: n}, make([]byte, n)), tc.code)
			expect(t, d.ReadBack(t.Context(), transfer.Chunk{Len: n}, io.Discard), tc.code)
		})
	}
}

// FuzzGzip compares the decoding of gzip responses with that of the standard library, to the last
// byte. The only difference: reserved flags are an error here, as RFC 1952 (2.3.1.2) demands.
func FuzzGzip(f *testing.F) {
	text, zeros := []byte("boot sector, and more of it, and more of it"), make([]byte, 300)
	good := gzipped(text)
	for _, seed := range [][]byte{
		good, gzipped(nil), gzipped(zeros), gzipped(text[:1]),
		append(gzipped(text[:20]), gzipped(text[20:])...), // of two members
		append(gzipped(text), gzipped(nil)...),            // and an empty one
		append(bytes.Clone(good), 0), append(bytes.Clone(good), 0x1f, 0x8b),
		append(bytes.Clone(good), 0x1f, 0x8b, 8, 0b1000, 0, 0, 0, 0, 0, 3, 'n'), // a name that breaks off
		good[:0], good[:9], good[:len(good)/2], good[:len(good)-1],
		// A wrong checksum of the header.
		append([]byte{0x1f, 0x8b, 8, 0b10, 0, 0, 0, 0, 0, 255, 0x5d, 0xba}, good[10:]...),
		// With extra field, name and comment.
		append([]byte{0x1f, 0x8b, 8, 0b11100, 0, 0, 0, 0, 0, 255, 2, 0, 1, 2, 'n', 0, 'c', 0}, good[10:]...),
		// A stored block.
		{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1, 1, 0, 0xfe, 0xff, 'a', 0x43, 0xbe, 0xb7, 0xe8, 1, 0, 0, 0},
		// A block of an invalid kind.
		{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 7},
	} {
		f.Add(seed, uint16(len(text)))
		f.Add(seed, uint16(len(zeros)))
		f.Add(seed, uint16(1))
	}
	gzipped := &http.Response{Header: http.Header{"Content-Encoding": {"gzip"}}, ContentLength: -1}
	f.Fuzz(func(t *testing.T, body []byte, n uint16) {
		p := make([]byte, n)
		plain, done, err := decodeBody(gzipped, bytes.NewReader(body), len(p))
		if err == nil {
			err = readExactly(p, plain)
			done()
		}
		want, wrong := inflated(body, len(p)+1)
		right := wrong == nil && len(want) == len(p) && !errors.Is(err, gzip.ErrHeader)
		if right != (err == nil) || right && !bytes.Equal(p, want) {
			t.Errorf("%x, %d bytes requested: got %x, %v; want %x, %v", body, n, p, err, want, wrong)
		}
	})
}

// inflated is at most limit bytes of what the standard library reads from a gzip stream.
func inflated(b []byte, limit int) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(z, int64(limit)))
}

// TestCallsInFlightAreBounded: all sessions together have at most MaxInFlight calls in flight.
func TestCallsInFlightAreBounded(t *testing.T) {
	const limit = 3
	var now, most atomic.Int64
	proceed := make(chan struct{}, 100)
	defer close(proceed)
	c := newEndpoint(t, func(http.ResponseWriter, *http.Request) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-proceed
		now.Add(-1)
	})
	limited := client(t, Config{URL: c.shared.base, MaxInFlight: limit})
	ended := make(chan error)
	for range 20 {
		s := limited.Session(Job{})
		go func() { ended <- s.DestroyDrive(t.Context(), uuid) }()
	}
	for range 20 {
		proceed <- struct{}{}
		if err := transfertest.Receive(t, ended, "end of a call"); err != nil {
			t.Errorf("got %v, want success", err)
		}
	}
	if m := most.Load(); m > limit {
		t.Errorf("got %d calls at once, want at most %d", m, limit)
	}
}

// TestCanceledCallReturns: the end of the context ends a call with the context's error.
func TestCanceledCallReturns(t *testing.T) {
	arrived, done := make(chan struct{}), make(chan struct{})
	c := newEndpoint(t, func(http.ResponseWriter, *http.Request) {
		close(arrived)
		<-done
	})
	defer close(done)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	_, err := c.Drive(ctx, uuid)
	expect(t, err, transfer.CodeCanceled)
}

// counted is a transfer.Meter.
type counted struct{ out, in atomic.Int64 }

func (m *counted) AddWireOut(n int64) { m.out.Add(n) }
func (m *counted) AddWireIn(n int64)  { m.in.Add(n) }
func (m *counted) AddChunk(bool)      {}

// TestSessionCountsAndLimitsItsBodies: Job.Meter counts the bodies of a session, and Job.Limit
// slows them.
func TestSessionCountsAndLimitsItsBodies(t *testing.T) {
	c := newEndpoint(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.Method == http.MethodGet {
			_, _ = w.Write(make([]byte, 50_000))
		}
	})
	m := new(counted)
	started := time.Now()
	d := drive(c.Session(Job{Meter: m, Limit: rate.NewLimiter(200_000, 20_000)}), 1<<20, transfer.CompressionNone)
	if err := d.WriteChunk(t.Context(), transfer.Chunk{Len: 50_000}, make([]byte, 50_000)); err != nil {
		t.Fatal(err)
	}
	if err := d.ReadChunk(t.Context(), transfer.Chunk{Len: 50_000}, make([]byte, 50_000)); err != nil {
		t.Fatal(err)
	}
	if m.out.Load() != 50_000 || m.in.Load() != 50_000 {
		t.Errorf("got %d bytes out, %d in; want 50,000 each", m.out.Load(), m.in.Load())
	}
	// 100,000 bytes at 200,000 a second; the burst of 20,000 passes at once.
	if elapsed := time.Since(started); elapsed < 350*time.Millisecond {
		t.Errorf("got %s, want at least 350ms", elapsed)
	}
}

// TestRTTIsThatOfTheFastestSmallRequest: the round-trip time is that of the fastest response to a
// small request. Requests with a chunk do not count.
func TestRTTIsThatOfTheFastestSmallRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var delay time.Duration
		c := distant(t, 0, func(r *http.Request) string {
			_, _ = io.Copy(io.Discard, r.Body)
			time.Sleep(delay)
			return "drive " + uuid + "\n"
		})
		if rtt := c.shared.rtt.Lowest(); rtt != 0 {
			t.Errorf("before any call: got RTT %s, want 0", rtt)
		}
		const near, far = 20 * time.Millisecond, 300 * time.Millisecond
		for _, delay = range []time.Duration{far, near, far} {
			if _, err := c.ListDrives(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		delay = 0
		d := drive(c, 1<<20, transfer.CompressionNone)
		if err := d.WriteChunk(t.Context(), transfer.Chunk{Len: 1 << 20}, make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
		if rtt := c.shared.rtt.Lowest(); rtt != near {
			t.Errorf("got RTT %s, want %s", rtt, near)
		}
	})
}

// TestRTTExcludesConnecting: the time to connect is no part of the round-trip time.
func TestRTTExcludesConnecting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const connect, respond = 300 * time.Millisecond, 20 * time.Millisecond
		c := distant(t, connect, func(*http.Request) string {
			time.Sleep(respond)
			return "uuid 1\n"
		})
		if _, err := c.Profile(t.Context()); err != nil {
			t.Fatal(err)
		}
		if rtt := c.shared.rtt.Lowest(); rtt != respond {
			t.Errorf("got RTT %s, want %s", rtt, respond)
		}
	})
}

// distant is a client of an endpoint in the same process, so that its times are virtual. A
// connection takes the time connect and serves one request.
func distant(t *testing.T, connect time.Duration, respond func(r *http.Request) string) *Client {
	t.Helper()
	c := client(t, Config{URL: "http://zrh.example.com"})
	c.shared.rtt.Next = &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			time.Sleep(connect)
			near, far := net.Pipe()
			go func() {
				defer far.Close()
				r, err := http.ReadRequest(bufio.NewReader(far))
				if err != nil {
					t.Error(err)
					return
				}
				text := respond(r)
				_, _ = fmt.Fprintf(far, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
			}()
			return near, nil
		},
	}
	return c
}

// TestCorruptReadsAreSampledAgain: a sample is read again before it counts as noise.
func TestCorruptReadsAreSampledAgain(t *testing.T) {
	var wrong atomic.Int64
	c := newEndpoint(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(path.Base(r.URL.Path))
		body := make([]byte, n)
		if wrong.Add(-1) >= 0 {
			body[7] = 1
		}
		_, _ = w.Write(body)
	})
	for reads, want := range map[int64]bool{blankReads - 1: true, blankReads * blankSamples: false} {
		wrong.Store(reads)
		d := drive(c, 1<<20, transfer.CompressionNone)
		d.created = true
		if blank, err := d.Blank(t.Context()); err != nil || blank != want {
			t.Errorf("%d corrupt reads: got blank %v, %v; want %v", reads, blank, err, want)
		}
	}
}
