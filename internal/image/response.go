package image

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// answer is a server's answer with status 200 or 206. Its body is read by one goroutine at a time.
type answer struct {
	remote *remote
	status int
	header http.Header
	from   *url.URL // where redirects led
	length int64    // of the body, bytes; -1: unknown
	body   io.ReadCloser
	ctx    context.Context // of the request
	stop   context.CancelCauseFunc
	unbind func() bool
}

// get sends one request. ctx governs the answer until its Close or unbind.
func (r *remote) get(ctx context.Context, u *url.URL, header http.Header) (*answer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err // bind would tell, but only a moment later
	}
	a := &answer{remote: r}
	a.ctx, a.stop = context.WithCancelCause(context.WithoutCancel(ctx))
	a.unbind = a.bind(ctx)
	if err := a.send(u, header); err != nil {
		a.release()
		return nil, err
	}
	if a.status != http.StatusOK && a.status != http.StatusPartialContent {
		return nil, errors.Join(a.statusError(), a.Close())
	}
	return a, nil
}

func (a *answer) send(u *url.URL, header http.Header) error {
	req, err := http.NewRequestWithContext(a.ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return a.remote.errNoURL()
	}
	req.Header = header.Clone()
	req.Header.Set("Accept-Encoding", "identity")
	resp, err := a.remote.client.Do(req) //nolint:bodyclose // Close does
	if err != nil {
		return a.callError(err)
	}
	a.status, a.header, a.from, a.length, a.body = resp.StatusCode, resp.Header, resp.Request.URL, resp.ContentLength, resp.Body
	return nil
}

// bind makes the end of ctx the end of the answer, until unbind.
func (a *answer) bind(ctx context.Context) (unbind func() bool) {
	return context.AfterFunc(ctx, func() { a.stop(ctx.Err()) })
}

// reader reads the body, each time under the context of that read and no longer under that of the request. It does not
// outlive its context even while the server sends nothing.
func (a *answer) reader() readFunc {
	a.unbind()
	return func(ctx context.Context, p []byte) (int, error) {
		unbind := a.bind(ctx)
		defer unbind()
		return a.Read(p)
	}
}

// Read reads the body; its errors are ones for users. A server that stands still is CodeTimeout.
func (a *answer) Read(p []byte) (int, error) {
	n, err := a.body.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = a.callError(err)
	}
	return n, err
}

// Close gives up what has not been read.
func (a *answer) Close() error {
	_ = a.body.Close() // its error says only that the body was cut off
	a.release()
	return nil
}

func (a *answer) release() {
	a.unbind()
	a.stop(nil)
}

// contentRange reads the header of a 206 (RFC 9110, 14.4): bytes FIRST-LAST/TOTAL.
func (a *answer) contentRange() (first, last, total int64, ok bool) {
	spec, found := strings.CutPrefix(a.header.Get("Content-Range"), "bytes ")
	span, size, slash := strings.Cut(spec, "/")
	from, to, dash := strings.Cut(span, "-")
	if !found || !slash || !dash {
		return 0, 0, 0, false
	}
	var errs [3]error
	first, errs[0] = strconv.ParseInt(from, 10, 64)
	last, errs[1] = strconv.ParseInt(to, 10, 64)
	total, errs[2] = strconv.ParseInt(size, 10, 64)
	return first, last, total, errors.Join(errs[:]...) == nil && first >= 0 && first <= last && last < total
}

// version names the version of the image that was sent: its strong ETag, or the time of its last change; empty if the
// server says neither. A weak ETag is none, for it does not promise the same bytes (RFC 9110, 8.8.3).
func (a *answer) version() string {
	if tag := a.header.Get("ETag"); strings.HasPrefix(tag, `"`) {
		return tag
	}
	return a.header.Get("Last-Modified")
}
