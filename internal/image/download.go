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

// mostRestarts is how often an image is read again from its start at the most, because its server cuts it
// off and does not continue it.
const mostRestarts = 16

// Retry makes op as often as a job makes a call to one of its ends: until it succeeds, fails for good or
// has failed for too long.
type Retry func(ctx context.Context, op func(ctx context.Context) error) error

// download reads an image behind a URL in order. A response that breaks off is continued where it did, at
// the very next byte, so that what decodes the stream above notices nothing. A server that cannot
// continue it sends the image again, and what was delivered before is compared by its digest. It is used
// by one goroutine at a time.
type download struct {
	remote   *remote
	version  version   // of the image that is read
	resp     *response // under way; nil: none
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

// use makes resp, of which nothing was read, the response under way.
func (d *download) use(resp *response) { d.resp, d.read = resp, resp.reader() }

// Read is the readFunc of the image.
func (d *download) Read(ctx context.Context, p []byte) (n int, err error) {
	err = d.remote.again(ctx, func(ctx context.Context) (err error) {
		n, err = d.once(ctx, p)
		return err
	})
	return n, err
}

// once reads what comes next. It reports no failure that came after some bytes: the next call meets it.
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
	_ = d.resp.Close() // which gives up what has not been read
	d.resp, d.read = nil, nil
}

// connect requests what has not been delivered or, where that is refused, all of the image.
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

// continues reports whether a response has the rest of the image of which off bytes were read.
func (resp *response) continues(off int64, v version) bool {
	first, last, total, ok := resp.contentRange()
	return resp.status == http.StatusPartialContent && ok && first == off && last == total-1 && resp.version().same(v)
}

// restart goes on with a response that brings the image from its start. What it says of its version does
// not matter: that all which was delivered is in it makes the whole what this server has.
func (d *download) restart(ctx context.Context, resp *response) error {
	now := resp.version()
	if d.version.size >= 0 && now.size >= 0 && now.size != d.version.size {
		return errors.Join(d.remote.changed(d.off, fmt.Errorf("it had %d bytes, it has %d", d.version.size, now.size)), resp.Close())
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

// skip reads what was delivered before, and compares it.
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
		return d.remote.changed(0, fmt.Errorf("its first %d bytes are others than those that were read before", d.off))
	}
	return nil
}

// Close gives up what has not been read.
func (d *download) Close() error {
	if d.resp != nil {
		d.drop()
	}
	return nil
}
