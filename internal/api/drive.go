package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/transferd/transferd/internal/chunker"
	"github.com/transferd/transferd/internal/codec"
	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transport"
)

// Drive is a drive as the source or the target of a copy. It is safe for concurrent use.
type Drive struct {
	client   *Client
	uuid     string
	size     int64
	codec    *codec.Codec       // encodes writes; nil: the drive is only read
	claimed  []string           // its users at OpenDrive
	writable bool               // by servers that hold it
	created  bool               // by this job, so that unwritten ranges may be zeros
	sampled  [blankSamples]bool // the samples that Blank has read
}

var (
	_ transfer.RandomAccess = (*Drive)(nil)
	_ transfer.Sink         = (*Drive)(nil)
	_ transfer.Remote       = (*Drive)(nil)
	_ transfer.Preparer     = (*Drive)(nil)
	_ transfer.ReadBacker   = (*Drive)(nil)
	_ transfer.BlankChecker = (*Drive)(nil)
	_ transfer.Discarder    = (*Drive)(nil)
	_ transfer.Holdable     = (*Drive)(nil)
)

// OpenDrive opens an existing drive. It fails with CodeConflict while the endpoint is still making
// the drive.
func OpenDrive(ctx context.Context, c *Client, uuid string) (*Drive, error) {
	info, err := c.Drive(ctx, uuid)
	if err != nil {
		return nil, err
	}
	ready, err := info.Ready()
	if err != nil {
		return nil, err
	}
	if !ready {
		return nil, &transfer.Error{
			Op: "open drive " + uuid, Code: transfer.CodeConflict, RetryAfter: time.Second,
			Err: fmt.Errorf("the endpoint is still making it (imaging %s)", info.Imaging),
		}
	}
	return &Drive{client: c, uuid: uuid, size: info.Size, claimed: info.Claimed, writable: info.Writable()}, nil
}

// ForWriting is the drive as a sink that encodes chunks with enc. created says that this job made
// the drive.
func (d *Drive) ForWriting(enc *codec.Codec, created bool) *Drive {
	return &Drive{client: d.client, uuid: d.uuid, size: d.size, codec: enc, created: created}
}

// UUID is the UUID of the drive.
func (d *Drive) UUID() string { return d.uuid }

// HeldBy implements transfer.Holdable.
func (d *Drive) HeldBy() []string { return serversOf(d.claimed) }

// Writable implements transfer.Holdable.
func (d *Drive) Writable() bool { return d.writable }

// Claimed is what used the drive at OpenDrive, as the endpoint names it.
func (d *Drive) Claimed() []string { return d.claimed }

// Size implements transfer.Source.
func (d *Drive) Size() int64 { return d.size }

// Traits implements transfer.Sink.
func (d *Drive) Traits() transfer.Traits {
	return transfer.Traits{
		Rewritable: true, ReadBack: transfer.ReadBackAtOnce, Zeros: transfer.ZerosSkipped,
		Geometry:    transfer.Geometry{MaxChunk: MaxChunk, Align: SectorSize},
		MaxInFlight: d.MaxInFlight(), Capacity: d.size,
	}
}

// MaxInFlight implements transfer.Remote: how many requests of all jobs together may be in flight
// to the endpoint.
func (d *Drive) MaxInFlight() int { return d.client.shared.inFlight }

// RTT implements transfer.Remote: the lowest observed round-trip time to the endpoint; 0 before the
// first response.
func (d *Drive) RTT() time.Duration { return d.client.shared.rtt.Lowest() }

// Identity implements transfer.Source. The API has no version of a drive's content, so Identity
// does not change when someone writes the drive between two attempts.
func (d *Drive) Identity() string { return d.uuid + " " + strconv.FormatInt(d.size, 10) }

// Extents implements transfer.Source. The API does not report holes, so all of the drive may be
// data.
func (d *Drive) Extents(context.Context) iter.Seq2[transfer.Extent, error] {
	return func(yield func(transfer.Extent, error) bool) {
		if d.size > 0 {
			yield(transfer.Extent{Len: d.size}, nil)
		}
	}
}

// ReadChunk implements transfer.Source: GET /drives/UUID/read/OFFSET/SIZE (manual 7.3).
func (d *Drive) ReadChunk(ctx context.Context, c transfer.Chunk, p []byte) error {
	return d.read(ctx, c, func(body io.Reader, part transfer.Chunk) error {
		at := part.Off - c.Off
		return readExactly(p[at:at+int64(part.Len)], body)
	})
}

// readExactly reads p from body, which must end after it.
func readExactly(p []byte, body io.Reader) error {
	if _, err := io.ReadFull(body, p); err != nil {
		return errShort(err)
	}
	return expectEnd(body)
}

// ReadBack implements transfer.ReadBacker.
func (d *Drive) ReadBack(ctx context.Context, c transfer.Chunk, w io.Writer) error {
	return d.read(ctx, c, func(body io.Reader, part transfer.Chunk) error {
		n, err := transport.Copy(w, io.LimitReader(body, int64(part.Len)))
		if err == nil && n < int64(part.Len) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return errShort(err)
		}
		return expectEnd(body)
	})
}

// consumeFunc reads all bytes of a part of a chunk.
type consumeFunc func(body io.Reader, part transfer.Chunk) error

// read reads a chunk with one call. While the codec still probes the link, it makes two calls, and
// the first is the probe.
func (d *Drive) read(ctx context.Context, c transfer.Chunk, consume consumeFunc) error {
	n := d.client.readEncoding.Probe(c.Len, d.RTT())
	if n == 0 {
		return d.readPart(ctx, c, d.client.readEncoding.Pick(), consume)
	}
	head, rest := split(c, n)
	if err := d.readPart(ctx, head, false, consume); err != nil {
		return err
	}
	return d.readPart(ctx, rest, d.client.readEncoding.Pick(), consume)
}

func split(c transfer.Chunk, n int) (head, rest transfer.Chunk) {
	head, rest = c, c
	head.Len, rest.Off, rest.Len = n, c.Off+int64(n), c.Len-n
	return head, rest
}

// readPart requests exactly these bytes (manual 7.3). With compressed it accepts gzip; the endpoint
// decides whether it compresses them.
func (d *Drive) readPart(ctx context.Context, c transfer.Chunk, compressed bool, consume consumeFunc) error {
	r := &request{
		op: fmt.Sprintf("read drive %s at %d", d.uuid, c.Off), method: http.MethodGet,
		path: fmt.Sprintf("drives/%s/read/%d/%d", d.uuid, c.Off, c.Len), about: driveKind, accept: "identity",
	}
	if compressed {
		r.accept = "gzip"
	}
	gotGzip := false
	flow := d.client.readEncoding.Begin(compressed)
	flow.Sending(compressed) // the endpoint compresses while it sends
	r.read = func(resp *http.Response, body io.Reader) error {
		plain, done, err := decodeBody(resp, body, c.Len)
		if err != nil {
			return err
		}
		defer done()
		gotGzip = plain != body
		return consume(plain, c)
	}
	err := d.client.do(ctx, r)
	n := c.Len
	if err != nil {
		n = 0
	}
	flow.End(gotGzip, n, 0)
	return err
}

var inflaters = sync.Pool{New: func() any { return new(codec.Reader) }}

// decodeBody returns a reader of the plain bytes of a response. A proxy may have compressed it
// although the request does not accept that. The caller calls done after the last read.
func decodeBody(resp *http.Response, body io.Reader, want int) (plain io.Reader, done func(), err error) {
	switch encoding := strings.ToLower(resp.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
		if n := resp.ContentLength; n >= 0 && n != int64(want) {
			return nil, nil, transfer.Errorf(transfer.CodeNetwork, "",
				"the response announces %s, not %d", transfer.Count(n, "byte"), want)
		}
		return body, func() {}, nil
	case "gzip", "x-gzip":
		z := inflaters.Get().(*codec.Reader)
		done := func() { inflaters.Put(z) }
		if err := z.Reset(body); err != nil {
			done()
			return nil, nil, transfer.Errorf(transfer.CodeNetwork, "", "begin to inflate the response: %w", err)
		}
		return z, done, nil
	default:
		return nil, nil, transfer.Errorf(transfer.CodeProtocol, hintNotAPI,
			"the response has the encoding %q", encoding)
	}
}

func errShort(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return transfer.Errorf(transfer.CodeNetwork, "", "the response is too short: %w", err)
	}
	return err
}

// expectEnd checks that no more bytes follow than requested. A read to the end also releases the
// connection.
func expectEnd(body io.Reader) error {
	var one [1]byte
	n, err := io.ReadFull(body, one[:])
	switch {
	case n > 0:
		return transfer.Errorf(transfer.CodeNetwork, "", "the response is longer than requested")
	case !errors.Is(err, io.EOF):
		return err
	}
	return nil
}

const (
	blankSamples    = 16
	blankSampleSize = 4 << 10
	// blankReads is how often a sample is read at most until it is zeros. Without repetition, one
	// corrupt read would make the job send all zeros of an image.
	blankReads = 5
)

// Blank implements transfer.BlankChecker. A drive is blank if the job made it and samples at its
// start, at its end and in between are zeros. A drive that encrypts may read as noise. After an
// error, the next call reads only the remaining samples.
func (d *Drive) Blank(ctx context.Context) (bool, error) {
	if !d.created {
		return false, nil
	}
	n := int(min(blankSampleSize, d.size))
	var noise atomic.Bool
	g := panics.NewGroup()
	for i := range d.sampled { // in parallel: the round-trip time may be long
		if d.sampled[i] {
			continue
		}
		var off int64
		switch spare := d.size - int64(n); {
		case i == 1:
			off = spare
		case i > 1:
			off = rand.Int64N(spare + 1)
		}
		g.Go(func() error {
			zero, err := d.readsAsZero(ctx, transfer.Chunk{Off: off, Len: n})
			if err != nil {
				return err
			}
			if d.sampled[i] = true; !zero {
				noise.Store(true)
			}
			return nil
		})
	}
	err := g.Wait()
	if noise.Load() {
		return false, nil
	}
	return err == nil, err
}

func (d *Drive) readsAsZero(ctx context.Context, c transfer.Chunk) (bool, error) {
	buf := make([]byte, c.Len)
	for range blankReads {
		if err := d.ReadChunk(ctx, c, buf); err != nil {
			return false, err
		}
		if chunker.IsZero(buf) {
			return true, nil
		}
	}
	return false, nil
}

// Commit implements transfer.Sink. Each write is durable when its response arrives, so Commit only
// checks that the drive exists and has its size.
func (d *Drive) Commit(ctx context.Context, m *transfer.Manifest, _ func(context.Context) error) error {
	info, err := d.client.Drive(ctx, d.uuid)
	if err != nil {
		return err
	}
	ready, err := info.Ready()
	if err != nil {
		return err
	}
	if !ready {
		return transfer.Errorf(transfer.CodeConflict, "is somebody cloning or changing it?",
			"drive %s is %s", d.uuid, info.Status)
	}
	if info.Size < m.Size {
		return transfer.Errorf(transfer.CodeMismatch, "was it resized?",
			"drive %s has %s, and the image %d", d.uuid, transfer.Count(info.Size, "byte"), m.Size)
	}
	return nil
}

// Discard implements transfer.Discarder.
func (d *Drive) Discard(ctx context.Context) error {
	if !d.created {
		return nil
	}
	return d.client.DestroyDrive(ctx, d.uuid)
}

// Close implements transfer.Source and transfer.Sink. It does nothing.
func (d *Drive) Close() error { return nil }
