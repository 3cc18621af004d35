package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"sync/atomic"

	"github.com/transferd/transferd/internal/transfer"
)

// URL is a medium behind a URL whose server supports ranges, and a raw image. It is safe for
// concurrent use.
type URL struct {
	*remote
	size    int64
	version string
	start   []byte // the first bytes, which tell the format
	said    labels // by the response that had them
	// at is where redirects led at first. Mirrors of one image differ in their ETags, so later
	// requests go there too.
	at atomic.Pointer[url.URL]
}

var (
	_ transfer.RandomAccess = (*URL)(nil)
	_ medium                = (*URL)(nil)
)

// ranged makes a medium of the response to a request for the first bytes; nil if the image can only
// be read in order. It reads nothing of the body if the response is the whole image.
func (r *remote) ranged(resp *response) (*URL, error) {
	first, last, total, ok := resp.contentRange()
	if resp.status != http.StatusPartialContent || !ok || first != 0 || resp.version() == "" {
		return nil, nil
	}
	head := make([]byte, min(last+1, sampleSize))
	if _, err := io.ReadFull(resp, head); err != nil {
		return nil, r.short(0, err)
	}
	u := &URL{remote: r, size: total, version: resp.version(), start: head, said: resp.labels()}
	u.pin(resp.from)
	return u, nil
}

// pin sends later requests to where a redirect led, with the user and password that were meant for
// that host.
func (u *URL) pin(to *url.URL) {
	at := *to
	if at.Scheme == u.origin.Scheme && at.Host == u.origin.Host {
		at.User = u.origin.User
	}
	u.at.Store(&at)
}

func (u *URL) name() string { return u.remote.name }

func (u *URL) labels() labels { return u.said }

func (u *URL) random() transfer.RandomAccess { return u }

func (u *URL) head(_ context.Context, n int) ([]byte, error) {
	return u.start[:min(n, len(u.start))], nil
}

// stream fetches everything in one go.
func (u *URL) stream(ctx context.Context) (*input, error) {
	resp, err := u.fetch(ctx, http.Header{})
	if err != nil {
		return nil, err
	}
	if now := resp.version(); now != u.version {
		err := u.changed(0, fmt.Errorf("the image changed: it was %s, it is %s", u.version, now))
		return nil, errors.Join(err, resp.Close())
	}
	return newInput(resp.reader(), resp.Close), nil
}

// Unchanged is known of each response when it is read.
func (u *URL) Unchanged(context.Context) error { return nil }

// Size is the image's length in bytes.
func (u *URL) Size() int64 { return u.size }

// Identity is made of the size and the strong ETag or, without one, the time of the last change.
func (u *URL) Identity() string { return fmt.Sprintf("size=%d version=%s", u.size, u.version) }

// Extents is the whole image: nothing says where its zeros are.
func (u *URL) Extents(context.Context) iter.Seq2[transfer.Extent, error] {
	return func(yield func(transfer.Extent, error) bool) { yield(transfer.Extent{Len: u.size}, nil) }
}

// ReadChunk fetches one range. An image that is not the one that was opened is CodeSourceChanged
// (If-Range, RFC 9110, 13.1.5); a response that is cut off is CodeNetwork, one that stands still
// CodeTimeout.
func (u *URL) ReadChunk(ctx context.Context, c transfer.Chunk, p []byte) error {
	if len(p) == 0 {
		return ctx.Err()
	}
	last := c.Off + int64(len(p)) - 1
	resp, err := u.fetch(ctx, http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", c.Off, last)}, "If-Range": {u.version}})
	if err != nil {
		return err
	}
	if err := u.check(resp, c.Off, last); err != nil {
		return errors.Join(err, resp.Close())
	}
	if n, err := io.ReadFull(resp, p); err != nil {
		return errors.Join(u.short(c.Off+int64(n), err), resp.Close())
	}
	return resp.Close()
}

// fetch requests the image from where redirects led before. If it is not there any more, as with an
// address that a redirect gave for a limited time, the redirects are followed again.
func (u *URL) fetch(ctx context.Context, header http.Header) (*response, error) {
	resp, err := u.get(ctx, u.at.Load(), header)
	if code := transfer.CodeOf(err); code != transfer.CodeForbidden && code != transfer.CodeNotFound {
		return resp, err
	}
	if resp, err = u.get(ctx, u.origin, header); err == nil {
		u.pin(resp.from)
	}
	return resp, err
}

func (u *URL) check(resp *response, first, last int64) error {
	if now := resp.version(); now != u.version {
		return u.changed(first, fmt.Errorf("the image changed: it was %s, it is %s", u.version, now))
	}
	from, to, total, ok := resp.contentRange()
	switch {
	case ok && total != u.size:
		return u.changed(first, fmt.Errorf("the image changed: it had %d bytes, it has %d", u.size, total))
	case !ok || resp.status != http.StatusPartialContent || from != first || to != last:
		return u.failure(transfer.CodeProtocol, "fetch the image by hand, and give the file",
			fmt.Errorf("asked for bytes %d to %d, the server answers %d with %q", first, last, resp.status, resp.header.Get("Content-Range")))
	}
	return nil
}

func (u *URL) changed(off int64, err error) error {
	return &transfer.Error{
		Op: "fetch " + u.remote.name, Code: transfer.CodeSourceChanged, Hint: "start a new job for the image as it is now", Offset: &off, Err: err,
	}
}

// short is the error of a response that ends early, at off of the image.
func (r *remote) short(off int64, err error) error {
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	return &transfer.Error{
		Op: "fetch " + r.name, Code: transfer.CodeNetwork, Offset: &off, Err: errors.New("the answer is shorter than what was asked for"),
	}
}

// Close has nothing to release.
func (u *URL) Close() error { return nil }
