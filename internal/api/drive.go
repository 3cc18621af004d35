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
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/transferd/transferd/internal/chunker"
	"github.com/transferd/transferd/internal/transfer"
)

// Drive is a drive as the two ends of a copy. It is safe for concurrent use.
type Drive struct {
	client  *Client
	uuid    string
	size    int64
	codec   *chunker.Codec // nil: only read
	created bool           // by the job, so its unwritten places may be left alone
}

var (
	_ transfer.Source     = (*Drive)(nil)
	_ transfer.Sink       = (*Drive)(nil)
	_ transfer.ReadBacker = (*Drive)(nil)
	_ transfer.Blank      = (*Drive)(nil)
	_ transfer.Discarder  = (*Drive)(nil)
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
	return &Drive{client: c, uuid: uuid, size: info.Size}, nil
}

// ForWriting is the drive as a sink whose chunks codec encodes. created says that this job made the drive.
func (d *Drive) ForWriting(codec *chunker.Codec, created bool) *Drive {
	return &Drive{client: d.client, uuid: d.uuid, size: d.size, codec: codec, created: created}
}

// Size implements transfer.Source.
func (d *Drive) Size() int64 { return d.size }

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
	return d.read(ctx, c, func(body io.Reader) error {
		if _, err := io.ReadFull(body, p); err != nil {
			return short(err)
		}
		return atEnd(body)
	})
}

var pieces = sync.Pool{New: func() any {
	b := make([]byte, 128<<10)
	return &b
}}

// ReadBack implements transfer.ReadBacker.
func (d *Drive) ReadBack(ctx context.Context, c transfer.Chunk, w io.Writer) error {
	piece := pieces.Get().(*[]byte)
	defer pieces.Put(piece)
	return d.read(ctx, c, func(body io.Reader) error {
		n, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{io.LimitReader(body, int64(c.Len))}, *piece)
		if err == nil && n < int64(c.Len) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return short(err)
		}
		return atEnd(body)
	})
}

// read asks for exactly the chunk (manual 7.3) and gives the bytes to take, which reads them to their end.
func (d *Drive) read(ctx context.Context, c transfer.Chunk, take func(body io.Reader) error) error {
	r := &request{
		op: fmt.Sprintf("read drive %s at %d", d.uuid, c.Off), method: http.MethodGet,
		path: drivePath(d.uuid, "read", strconv.FormatInt(c.Off, 10), strconv.Itoa(c.Len)),
	}
	r.read = func(resp *http.Response, body io.Reader) error {
		body, err := decoded(resp, body, c.Len)
		if err != nil {
			return err
		}
		return take(body)
	}
	return d.client.do(ctx, r)
}

// decoded is the plain bytes of an answer. We ask for none, but an endpoint on the way may compress.
func decoded(resp *http.Response, body io.Reader, want int) (io.Reader, error) {
	switch encoding := strings.ToLower(resp.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
		if n := resp.ContentLength; n >= 0 && n != int64(want) {
			return nil, transfer.Errorf(transfer.CodeNetwork, "", "the answer announces %d bytes, not %d", n, want)
		}
		return body, nil
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(body)
		if err != nil {
			return nil, transfer.Errorf(transfer.CodeNetwork, "", "begin to inflate the answer: %w", err)
		}
		return z, nil
	default:
		return nil, transfer.Errorf(transfer.CodeProtocol, notAPI, "the answer has the encoding %q", encoding)
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

// WriteChunk implements transfer.Sink (manual 7.2): the chunk's own length always, never chunked transfer.
func (d *Drive) WriteChunk(ctx context.Context, c transfer.Chunk, p []byte) error {
	body := d.codec.Encode(p)
	defer body.Release()
	return d.client.do(ctx, &request{
		op: fmt.Sprintf("write drive %s at %d", d.uuid, c.Off), method: http.MethodPost,
		path: drivePath(d.uuid, "write", strconv.FormatInt(c.Off, 10)),
		body: body.Bytes, kind: "application/octet-stream", gzip: body.Gzip,
	})
}

const (
	blankSamples    = 16
	blankSampleSize = 4 << 10
)

// Blank implements transfer.Blank: a drive that the job made, and that reads as zeros at its start, its end and places in
// between. One that encrypts may read as noise.
func (d *Drive) Blank(ctx context.Context) (bool, error) {
	if !d.created {
		return false, nil
	}
	n := int(min(blankSampleSize, d.size))
	buf := make([]byte, n)
	for i := range blankSamples {
		var off int64
		switch spare := d.size - int64(n); {
		case i == 1:
			off = spare
		case i > 1:
			off = rand.Int64N(spare + 1)
		}
		if err := d.ReadChunk(ctx, transfer.Chunk{Off: off, Len: n}, buf); err != nil {
			return false, err
		}
		if !chunker.IsZero(buf) {
			return false, nil
		}
	}
	return true, nil
}

// Commit implements transfer.Sink: every write is durable when it is answered, so all that is left is to see that the
// drive is still there and whole.
func (d *Drive) Commit(ctx context.Context, m *transfer.Manifest) error {
	info, err := d.client.Info(ctx, d.uuid)
	if err != nil {
		return err
	}
	ready, err := info.Ready()
	if err != nil {
		return err
	}
	if !ready {
		return transfer.Errorf(transfer.CodeConflict, "", "drive %s is %s", d.uuid, info.Status)
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
