package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/transferd/transferd/internal/codec"
	"github.com/transferd/transferd/internal/transfer"
)

// WriteChunk implements transfer.Sink: POST /drives/UUID/write/OFFSET (manual 7.2). It always sends
// a Content-Length, never chunked encoding.
func (d *Drive) WriteChunk(ctx context.Context, c transfer.Chunk, p []byte) error {
	w := d.Prepare(c, p)
	defer w.Release()
	return w.Write(ctx)
}

// Prepare implements transfer.Preparer: it encodes the chunk. While the codec still probes the
// link, Write sends a chunk in two parts, and the first is the probe. The second is encoded after
// the first was sent.
func (d *Drive) Prepare(c transfer.Chunk, p []byte) transfer.Prepared {
	w := &write{drive: d, chunk: c, p: p}
	if n := d.codec.Probe(c.Len, d.RTT()); n > 0 {
		w.probe, w.chunk = split(c, n)
		w.probed, w.p = p[:n], p[n:]
		return w
	}
	w.encode()
	return w
}

// write is a chunk that is prepared for a drive.
type write struct {
	drive   *Drive
	probe   transfer.Chunk // the first part, sent plain; Len 0: there is none, or it is sent
	probed  []byte         // its bytes
	chunk   transfer.Chunk // the rest
	p       []byte         // its bytes
	body    codec.Body     // of the rest, if encoded
	encoded bool
	failed  bool // a call failed, so the time of the body does not measure the link
}

var _ transfer.Prepared = (*write)(nil)

func (w *write) encode() { w.body, w.encoded = w.drive.codec.Encode(w.p), true }

// Write implements transfer.Prepared.
func (w *write) Write(ctx context.Context) error {
	if w.probe.Len > 0 {
		body := w.drive.codec.Plain(w.probed)
		err := w.send(ctx, w.probe, &body)
		body.Release()
		if err != nil {
			return err
		}
		w.probe.Len = 0
	}
	if !w.encoded {
		w.encode()
	}
	return w.send(ctx, w.chunk, &w.body)
}

func (w *write) send(ctx context.Context, c transfer.Chunk, body *codec.Body) error {
	d := w.drive
	body.Sending()
	err := d.client.do(ctx, &request{
		op: fmt.Sprintf("write drive %s at %d", d.uuid, c.Off), method: http.MethodPost,
		path: fmt.Sprintf("drives/%s/write/%d", d.uuid, c.Off), about: driveKind,
		body: body.Bytes, contentType: "application/octet-stream", gzip: body.Gzip,
	})
	if err != nil {
		w.failed = true
		return err
	}
	if !w.failed {
		body.Arrived(c.Len)
	}
	if d.client.meter != nil {
		d.client.meter.AddChunk(body.Gzip)
	}
	return nil
}

// Release implements transfer.Prepared.
func (w *write) Release() {
	if w.probe.Len > 0 { // not sent: leave the probe to the next chunk
		body := w.drive.codec.Plain(w.probed)
		body.Release()
	}
	if w.encoded {
		w.body.Release()
	}
}
