package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"sync/atomic"

	"github.com/transferd/transferd/internal/transfer"
)

// URL is a medium behind a URL whose server supports ranges, and a raw image on it. It is safe for
// concurrent use.
type URL struct {
	*remote
	size     int64
	version  version
	start    []byte       // the first bytes, for signatures
	meta     metadata     // of the response with the first bytes
	refusals atomic.Int32 // of ranges
}

var (
	_ transfer.RandomAccess = (*URL)(nil)
	_ transfer.Resembler    = (*URL)(nil)
	_ medium                = (*URL)(nil)
)

// ranged makes a medium of the response to a request for the first bytes. It returns nil if the
// image can only be read in order. It does not read the body if the response is the whole image.
func (r *remote) ranged(resp *response) (*URL, error) {
	first, last, total, ok := resp.contentRange()
	if resp.status != http.StatusPartialContent || !ok || first != 0 || resp.version().validator() == "" {
		return nil, nil
	}
	head := make([]byte, min(last+1, sampleSize))
	if _, err := io.ReadFull(resp, head); err != nil {
		return nil, r.shortError(0, err)
	}
	r.sawImage = !resp.metadata().isPage()
	return &URL{remote: r, size: total, version: resp.version(), start: head, meta: resp.metadata()}, nil
}

func (u *URL) name() string { return u.remote.name }

func (u *URL) metadata() metadata { return u.meta }

func (u *URL) random() transfer.RandomAccess { return u }

func (u *URL) head(_ context.Context, n int) ([]byte, error) {
	return u.start[:min(n, len(u.start))], nil
}

// stream fetches the whole image with one request, and makes another one each time the server cuts
// the response off.
func (u *URL) stream(context.Context) (*input, error) {
	d := u.download(u.version)
	return newInput(d.Read, d.Close), nil
}

// Unchanged does nothing: readRange checks the version of each response.
func (u *URL) Unchanged(context.Context) error { return nil }

// Size is the image's length in bytes.
func (u *URL) Size() int64 { return u.size }

// Identity contains the size and the strong ETag or, without one, the time of the last change.
func (u *URL) Identity() string { return u.version.String() }

// Resembles reports whether an image of that identity may have the same bytes.
func (u *URL) Resembles(identity string) bool { return u.version.resemblesIdentity(identity) }

// Extents is the whole image: HTTP does not say where its zeros are.
func (u *URL) Extents(context.Context) iter.Seq2[transfer.Extent, error] {
	return func(yield func(transfer.Extent, error) bool) { yield(transfer.Extent{Len: u.size}, nil) }
}

// ReadChunk fetches one range. If a response is cut off, it requests the rest, provided that each
// response has at least one byte. Errors: CodeSourceChanged if the image is not the one that was
// opened (If-Range, RFC 9110, 13.1.5); CodeNetwork if a response has no byte; CodeTimeout if one
// stalls; transfer.ErrInOrder if the server no longer sends ranges.
func (u *URL) ReadChunk(ctx context.Context, c transfer.Chunk, p []byte) error {
	for off := c.Off; len(p) > 0; {
		n, err := u.readRange(ctx, off, p)
		if err != nil && (n == 0 || transfer.CodeOf(err) != transfer.CodeNetwork) {
			return err
		}
		off, p = off+int64(n), p[n:]
	}
	return ctx.Err()
}

// readRange requests the bytes at off, and reads the first n of them.
func (u *URL) readRange(ctx context.Context, off int64, p []byte) (n int, err error) {
	last := off + int64(len(p)) - 1
	resp, err := u.fetch(ctx, http.Header{
		"Range": {fmt.Sprintf("bytes=%d-%d", off, last)}, "If-Range": {u.version.validator()},
	})
	switch {
	case rangeRefused(err):
		return 0, u.refusedRange(fmt.Errorf("request for bytes %d to %d: %w", off, last, statusError(statusOf(err))))
	case err != nil:
		return 0, err
	}
	if last, err = u.check(resp, off, last); err != nil {
		return 0, errors.Join(err, resp.Close())
	}
	if n, err = io.ReadFull(resp, p[:last-off+1]); err != nil {
		return n, errors.Join(u.shortError(off+int64(n), err), resp.Close())
	}
	return n, resp.Close()
}

// check verifies that a response contains the requested bytes, or the first of them, up to to.
func (u *URL) check(resp *response, first, last int64) (to int64, err error) {
	now := resp.version()
	from, to, _, ok := resp.contentRange()
	const refusal = "request for bytes %d to %d: the server responds with %d"
	switch {
	case !now.same(u.version) && now.resembles(u.version):
		return 0, u.inOrder(fmt.Errorf("its servers disagree on the version: it was %s, it is %s", u.version, now))
	case now.differs(u.version):
		return 0, u.changedError(first, fmt.Errorf("it was %s, it is %s", u.version, now))
	case resp.status != http.StatusPartialContent:
		return 0, u.refusedRange(fmt.Errorf(refusal, first, last, resp.status))
	case !ok || !now.same(u.version) || from != first || to > last:
		contentRange := resp.header.Get("Content-Range")
		return 0, u.refusedRange(fmt.Errorf(refusal+" and Content-Range %q", first, last, resp.status, contentRange))
	}
	return to, nil
}

// refusedRange is the error of a range that the server does not send. Another server of a cluster
// may send it, so the first few refusals are retried; after them the image is read in order.
func (u *URL) refusedRange(err error) error {
	if u.refusals.Add(1) > rangeTries {
		return u.inOrder(err)
	}
	return u.failure(transfer.CodeServer, hintInOrder, err)
}

// inOrder is the error of an image that can no longer be read by offset.
func (u *URL) inOrder(err error) error {
	return u.failure(transfer.CodeProtocol, hintInOrder, fmt.Errorf("%w: %w", transfer.ErrInOrder, err))
}

const (
	rangeTries  = 3
	hintInOrder = "fetch the image by hand, and give the file"
)

// changedError is the error of an image that has changed since it was opened, detected at off.
func (r *remote) changedError(off int64, err error) error {
	return &transfer.Error{
		Op: "fetch " + r.name, Code: transfer.CodeSourceChanged, Offset: &off,
		Hint: "start a new job for the image as it is now", Err: fmt.Errorf("the image changed: %w", err),
	}
}

// shortError is the error of a response that ends early, at off of the image.
func (r *remote) shortError(off int64, err error) error {
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	return &transfer.Error{
		Op: "fetch " + r.name, Code: transfer.CodeNetwork, Offset: &off,
		Err: errors.New("the response is shorter than requested"),
	}
}

// Close does nothing.
func (u *URL) Close() error { return nil }
