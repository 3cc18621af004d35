package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/verify"
)

// mostRestarts limits how often an image is read again from its start, because its server cuts it
// off and does not continue it.
const mostRestarts = 16

// Retry repeats op by the retry policy of a job: until it succeeds, fails permanently or has failed
// for too long.
type Retry func(ctx context.Context, op func(ctx context.Context) error) error

// download reads an image behind a URL in order. A response that breaks off is continued at the
// very next byte, so a decoder above it sees one stream. A server that cannot continue sends the
// image again; the bytes that were delivered before are compared by their digest. It is used by one
// goroutine at a time.
type download struct {
	remote   *remote
	version  version   // of the image that is read
	resp     *response // the current one; nil: none
	read     readFunc  // of resp
	off      int64     // bytes delivered
	sum      *verify.Comparer
	restarts int
}

func (r *remote) download(v version) *download {
	d := &download{remote: r, version: v, sum: verify.NewComparer()}
	d.sum.Reset(nil)
	return d
}

// use makes resp, whose body has not been read, the current response.
func (d *download) use(resp *response) { d.resp, d.read = resp, resp.reader() }

// Read is the readFunc of the image.
func (d *download) Read(ctx context.Context, p []byte) (n int, err error) {
	err = d.remote.again(ctx, func(ctx context.Context) (err error) {
		n, err = d.once(ctx, p)
		return err
	})
	return n, err
}

// once makes one read. It does not report a failure after some bytes: the next call does.
func (d *download) once(ctx context.Context, p []byte) (int, error) {
	if d.version.size >= 0 && d.off >= d.version.size {
		return 0, io.EOF
	}
	if d.resp == nil {
		if err := d.connect(ctx); err != nil {
			return 0, err
		}
	}
	n, err := d.read(ctx, p)
	_, _ = d.sum.Write(p[:n])
	d.off += int64(n)
	if err == nil || errors.Is(err, io.EOF) && d.version.size < 0 {
		return n, err
	}
	d.drop()
	if n > 0 {
		return n, nil
	}
	return 0, d.remote.short(d.off, err)
}

func (d *download) drop() {
	_ = d.resp.Close() // discards the rest of the body
	d.resp, d.read = nil, nil
}

// connect requests the rest of the image or, where that is refused, all of it.
func (d *download) connect(ctx context.Context) error {
	if d.off > 0 && d.version.validator() != "" {
		resp, err := d.remote.fetch(ctx, http.Header{
			"Range": {fmt.Sprintf("bytes=%d-", d.off)}, "If-Range": {d.version.validator()},
		})
		switch {
		case err != nil && !rangeRefused(err):
			return err
		case err == nil && resp.continues(d.off, d.version):
			d.use(resp)
			return nil
		case err == nil && resp.status == http.StatusOK:
			return d.restart(ctx, resp)
		case err == nil:
			_ = resp.Close()
		}
	}
	resp, err := d.remote.fetch(ctx, http.Header{})
	if err != nil {
		return err
	}
	return d.restart(ctx, resp)
}

// continues reports whether a response has the rest of the image, from off.
func (resp *response) continues(off int64, v version) bool {
	first, last, total, ok := resp.contentRange()
	return resp.status == http.StatusPartialContent && ok && first == off && last == total-1 && resp.version().same(v)
}

// restart continues with a response that has the image from its start. Its version does not matter:
// it begins with all bytes that were delivered, so the whole is the image that this server has.
func (d *download) restart(ctx context.Context, resp *response) error {
	now := resp.version()
	if d.version.size >= 0 && now.size >= 0 && now.size != d.version.size {
		changed := d.remote.changed(d.off, fmt.Errorf("it had %d bytes, it has %d", d.version.size, now.size))
		return errors.Join(changed, resp.Close())
	}
	d.use(resp)
	if d.off > 0 {
		if d.restarts++; d.restarts > mostRestarts {
			d.drop()
			return d.remote.failure(transfer.CodeProtocol, "fetch the image by hand, and give the file",
				fmt.Errorf("the server has cut it off %d times, and does not continue it", d.restarts))
		}
		if err := d.skip(ctx); err != nil {
			d.drop()
			return err
		}
	}
	if now.size >= 0 {
		d.version = now
	}
	return nil
}

// skip reads the bytes that were delivered before, and compares them.
func (d *download) skip(ctx context.Context) error {
	sum, buf := verify.NewComparer(), make([]byte, readSize)
	sum.Reset(nil)
	for left := d.off; left > 0; {
		n, err := d.read(ctx, buf[:min(left, readSize)])
		_, _ = sum.Write(buf[:n])
		if left -= int64(n); err != nil && left > 0 {
			return d.remote.short(d.off-left, err)
		}
	}
	if sum.Digest() != d.sum.Digest() {
		return d.remote.changed(0, fmt.Errorf("its first %d bytes differ from those that were read before", d.off))
	}
	return nil
}

// Close discards the rest.
func (d *download) Close() error {
	if d.resp != nil {
		d.drop()
	}
	return nil
}
