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

// Drive is a drive as the two ends of a copy. It is safe for concurrent use.
type Drive struct {
	client  *Client
	uuid    string
	size    int64
	codec   *codec.Codec       // nil: only read
	claimed []string           // what used it when it was opened
	created bool               // by the job, so its unwritten places may be left alone
	seen    [blankSamples]bool // the places that Blank has read
}

var (
	_ transfer.RandomAccess = (*Drive)(nil)
	_ transfer.Sink         = (*Drive)(nil)
	_ transfer.Remote       = (*Drive)(nil)
	_ transfer.Preparer     = (*Drive)(nil)
	_ transfer.ReadBacker   = (*Drive)(nil)
	_ transfer.BlankChecker = (*Drive)(nil)
	_ transfer.Discarder    = (*Drive)(nil)
)

// OpenDrive looks a drive up. It fails with CodeConflict while the endpoint is still making it.
func OpenDrive(ctx context.Context, c *Client, uuid string) (*Drive, error) {
	info, err := c.Info(ctx, uuid)
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
			Err: fmt.Errorf("it is being made (imaging %s)", info.Imaging),
		}
	}
	return &Drive{client: c, uuid: uuid, size: info.Size, claimed: info.Claimed}, nil
}

// ForWriting is the drive as a sink whose chunks enc encodes. created says that this job made the drive.
func (d *Drive) ForWriting(enc *codec.Codec, created bool) *Drive {
	return &Drive{client: d.client, uuid: d.uuid, size: d.size, codec: enc, created: created}
}

// Claimed is what used the drive when it was opened, by what the endpoint says: servers.
func (d *Drive) Claimed() []string { return d.claimed }

// Size implements transfer.Source.
func (d *Drive) Size() int64 { return d.size }

// Traits implements transfer.Sink.
func (d *Drive) Traits() transfer.Traits {
	return transfer.Traits{
		Rewritable: true, ReadBack: transfer.ReadBackAtOnce, Zeros: transfer.ZerosSkipped,
		Geometry: transfer.Geometry{MaxChunk: MaxChunk, Align: SectorSize}, MaxInFlight: d.MaxInFlight(), Capacity: d.size,
	}
}

// MaxInFlight implements transfer.Remote: how many requests to the endpoint may be under way at once, from all jobs together.
func (d *Drive) MaxInFlight() int { return d.client.shared.inFlight }

// RTT implements transfer.Remote: the lowest observed round-trip time to the endpoint; 0 before its
// first answer.
func (d *Drive) RTT() time.Duration { return d.client.shared.rtt.Lowest() }

// Identity implements transfer.Source. The API has no version of what a drive holds, so a drive that was written between
// two attempts is not found out by it.
func (d *Drive) Identity() string { return d.uuid + " " + strconv.FormatInt(d.size, 10) }

// Extents implements transfer.Source: the API does not tell holes, so all of the drive may be data.
func (d *Drive) Extents(context.Context) iter.Seq2[transfer.Extent, error] {
	return func(yield func(transfer.Extent, error) bool) {
		if d.size > 0 {
			yield(transfer.Extent{Len: d.size}, nil)
		}
	}
}

// ReadChunk implements transfer.Source.
func (d *Drive) ReadChunk(ctx context.Context, c transfer.Chunk, p []byte) error {
	return d.read(ctx, c, func(body io.Reader, part transfer.Chunk) error {
		at := part.Off - c.Off
		return fill(p[at:at+int64(part.Len)], body)
	})
}

// fill reads p from body, which must end with it.
func fill(p []byte, body io.Reader) error {
	if _, err := io.ReadFull(body, p); err != nil {
		return short(err)
	}
	return atEnd(body)
}

// ReadBack implements transfer.ReadBacker.
func (d *Drive) ReadBack(ctx context.Context, c transfer.Chunk, w io.Writer) error {
	return d.read(ctx, c, func(body io.Reader, part transfer.Chunk) error {
		n, err := transport.Copy(w, io.LimitReader(body, int64(part.Len)))
		if err == nil && n < int64(part.Len) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return short(err)
		}
		return atEnd(body)
	})
}

// takeFunc takes the bytes of a part of a chunk, all of them.
type takeFunc func(body io.Reader, part transfer.Chunk) error

// read asks for the chunk: at once, or, as long as little is known of the link, in two parts of which the first is a probe.
func (d *Drive) read(ctx context.Context, c transfer.Chunk, take takeFunc) error {
	n := d.client.down.Probe(c.Len, d.RTT())
	if n == 0 {
		return d.readPart(ctx, c, d.client.down.Pick(), take)
	}
	head, rest := split(c, n)
	if err := d.readPart(ctx, head, false, take); err != nil {
		return err
	}
	return d.readPart(ctx, rest, d.client.down.Pick(), take)
}

func split(c transfer.Chunk, n int) (head, rest transfer.Chunk) {
	head, rest = c, c
	head.Len, rest.Off, rest.Len = n, c.Off+int64(n), c.Len-n
	return head, rest
}

// readPart asks for exactly these bytes (manual 7.3), and for them compressed if that is faster; whether they are is the
// endpoint's choice.
func (d *Drive) readPart(ctx context.Context, c transfer.Chunk, packed bool, take takeFunc) error {
	r := &request{
		op: fmt.Sprintf("read drive %s at %d", d.uuid, c.Off), method: http.MethodGet,
		path: drivePath(d.uuid, "read", strconv.FormatInt(c.Off, 10), strconv.Itoa(c.Len)), accept: "identity",
	}
	if packed {
		r.accept = "gzip"
	}
	came := false // compressed
	flow := d.client.down.Begin(packed)
	flow.Sending(packed) // the other end compresses while it sends, and the way there is the same for all
	r.read = func(resp *http.Response, body io.Reader) error {
		plain, done, err := decoded(resp, body, c.Len)
		if err != nil {
			return err
		}
		defer done()
		came = plain != body
		return take(plain, c)
	}
	err := d.client.do(ctx, r)
	n := c.Len
	if err != nil {
		n = 0
	}
	flow.End(came, n, 0)
	return err
}

var inflaters = sync.Pool{New: func() any { return new(codec.Reader) }}

// decoded is the plain bytes of an answer, which may be compressed even if we did not ask for that: by something on the
// way. done is called when they have been read.
func decoded(resp *http.Response, body io.Reader, want int) (plain io.Reader, done func(), err error) {
	switch encoding := strings.ToLower(resp.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
		if n := resp.ContentLength; n >= 0 && n != int64(want) {
			return nil, nil, transfer.Errorf(transfer.CodeNetwork, "", "the answer announces %d bytes, not %d", n, want)
		}
		return body, func() {}, nil
	case "gzip", "x-gzip":
		z := inflaters.Get().(*codec.Reader)
		done := func() { inflaters.Put(z) }
		if err := z.Reset(body); err != nil {
			done()
			return nil, nil, transfer.Errorf(transfer.CodeNetwork, "", "begin to inflate the answer: %w", err)
		}
		return z, done, nil
	default:
		return nil, nil, transfer.Errorf(transfer.CodeProtocol, notAPI, "the answer has the encoding %q", encoding)
	}
}

func short(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return transfer.Errorf(transfer.CodeNetwork, "", "the answer came short: %w", err)
	}
	return err
}

// atEnd makes sure that no more bytes come than were asked for; reading to the end also gives the connection back.
func atEnd(body io.Reader) error {
	var one [1]byte
	n, err := io.ReadFull(body, one[:])
	switch {
	case n > 0:
		return transfer.Errorf(transfer.CodeNetwork, "", "the answer is longer than what was asked for")
	case !errors.Is(err, io.EOF):
		return err
	}
	return nil
}

const (
	blankSamples    = 16
	blankSampleSize = 4 << 10
	// blankReads is how often a sample is read at the most until it is zeros: a read that is wrong
	// now and then must not have all zeros of an image sent.
	blankReads = 5
)

// Blank implements transfer.BlankChecker: a drive that the job made, and that reads as zeros at its start, its end and places in
// between. One that encrypts may read as noise. After an error it goes on with the places that it has not seen yet.
func (d *Drive) Blank(ctx context.Context) (bool, error) {
	if !d.created {
		return false, nil
	}
	n := int(min(blankSampleSize, d.size))
	var noise atomic.Bool
	g := panics.NewGroup()
	for i := range d.seen { // at once: the endpoint may be far away
		if d.seen[i] {
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
			if d.seen[i] = true; !zero {
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

// Commit implements transfer.Sink: every write is durable when it is answered, so all that is left is to see that the
// drive is still there and whole.
func (d *Drive) Commit(ctx context.Context, m *transfer.Manifest, _ func(context.Context) error) error {
	info, err := d.client.Info(ctx, d.uuid)
	if err != nil {
		return err
	}
	ready, err := info.Ready()
	if err != nil {
		return err
	}
	if !ready {
		return transfer.Errorf(transfer.CodeConflict, "is somebody cloning or changing it?", "drive %s is %s", d.uuid, info.Status)
	}
	if info.Size < m.Size {
		return transfer.Errorf(transfer.CodeMismatch, "was it resized?", "drive %s has %d bytes, and the image %d", d.uuid, info.Size, m.Size)
	}
	return nil
}

// Discard implements transfer.Discarder.
func (d *Drive) Discard(ctx context.Context) error {
	if !d.created {
		return nil
	}
	return d.client.Destroy(ctx, d.uuid)
}

// Close implements both ends; a drive holds nothing that needs closing.
func (d *Drive) Close() error { return nil }
