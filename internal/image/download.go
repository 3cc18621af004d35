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

// maxRestarts limits how often an image is read again from its start because the server cuts the
// response off and cannot continue it.
const maxRestarts = 16

// Retry calls op again by the retry policy of a job, until op succeeds, fails permanently, or has
// failed for too long.
type Retry func(ctx context.Context, op func(ctx context.Context) error) error

// download reads an image behind a URL in order. It continues a response that breaks off at the
// next byte, so a decoder above it reads one stream. If the server cannot continue, download
// requests the image again and compares the bytes that it delivered before by their digest. Only
// one goroutine at a time may use it.
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

// setResponse makes resp, whose body has not been read, the current response.
func (d *download) setResponse(resp *response) { d.resp, d.read = resp, resp.reader() }

// Read is the readFunc of the image.
func (d *download) Read(ctx context.Context, p []byte) (n int, err error) {
	err = d.remote.withRetry(ctx, func(ctx context.Context) (err error) {
		n, err = d.readOnce(ctx, p)
		return err
	})
	return n, err
}

// readOnce makes one read. If a failure follows some bytes, the next call reports it.
func (d *download) readOnce(ctx context.Context, p []byte) (int, error) {
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
	d.closeResponse()
	if n > 0 {
		return n, nil
	}
	return 0, d.remote.shortError(d.off, err)
}

func (d *download) closeResponse() {
	_ = d.resp.Close() // discards the rest of the body
	d.resp, d.read = nil, nil
}

// connect requests the rest of the image or, if the server refuses that, all of it.
func (d *download) connect(ctx context.Context) error {
	if d.off > 0 && d.version.validator() != "" {
		resp, err := d.remote.fetch(ctx, http.Header{
			"Range": {fmt.Sprintf("bytes=%d-", d.off)}, "If-Range": {d.version.validator()},
		})
		switch {
		case err != nil && !rangeRefused(err):
			return err
		case err == nil && resp.continues(d.off, d.version):
			d.setResponse(resp)
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

// continues reports whether a response contains the rest of the image, from off.
func (resp *response) continues(off int64, v version) bool {
	first, last, total, ok := resp.contentRange()
	return resp.status == http.StatusPartialContent && ok && first == off && last == total-1 && resp.version().same(v)
}

// restart continues with a response that contains the image from its start. The version may differ:
// if the response begins with all bytes that were delivered, the whole is the image of this server.
func (d *download) restart(ctx context.Context, resp *response) error {
	now := resp.version()
	if d.version.size >= 0 && now.size >= 0 && now.size != d.version.size {
		had := transfer.Count(d.version.size, "byte")
		changed := d.remote.changedError(d.off, fmt.Errorf("it had %s and now has %d", had, now.size))
		return errors.Join(changed, resp.Close())
	}
	d.setResponse(resp)
	if d.off > 0 {
		if d.restarts++; d.restarts > maxRestarts {
			d.closeResponse()
			return d.remote.failure(transfer.CodeProtocol, "fetch the image by hand, and give the file",
				fmt.Errorf("the server has cut it off %d times and does not continue it", d.restarts))
		}
		if err := d.comparePrefix(ctx); err != nil {
			d.closeResponse()
			return err
		}
	}
	if now.size >= 0 {
		d.version = now
	}
	return nil
}

// comparePrefix reads the bytes that were delivered before, and compares them by their digest.
func (d *download) comparePrefix(ctx context.Context) error {
	sum, buf := verify.NewComparer(), make([]byte, readSize)
	sum.Reset(nil)
	for left := d.off; left > 0; {
		n, err := d.read(ctx, buf[:min(left, readSize)])
		_, _ = sum.Write(buf[:n])
		if left -= int64(n); err != nil && left > 0 {
			return d.remote.shortError(d.off-left, err)
		}
	}
	if sum.Digest() != d.sum.Digest() {
		return d.remote.changedError(0, fmt.Errorf("its first %d bytes differ from those that were read before", d.off))
	}
	return nil
}

// Close closes the current response.
func (d *download) Close() error {
	if d.resp != nil {
		d.closeResponse()
	}
	return nil
}
