package image

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/transfer"
)

// response is a response with status 200 or 206. Only one goroutine at a time may read its body.
type response struct {
	remote *remote
	status int
	header http.Header
	from   *url.URL // after redirects
	length int64    // of the body, bytes; -1: unknown
	// unframed says that the body ends with the connection.
	unframed bool
	body     io.ReadCloser
	ctx      context.Context // of the request
	stop     context.CancelCauseFunc
	unbind   func() bool
}

// get sends one request. ctx governs the response until its Close or unbind.
func (r *remote) get(ctx context.Context, u *url.URL, header http.Header) (*response, error) {
	if err := ctx.Err(); err != nil {
		return nil, err // bind would end the request, too, but later
	}
	resp := &response{remote: r}
	resp.ctx, resp.stop = context.WithCancelCause(context.WithoutCancel(ctx))
	resp.unbind = resp.bind(ctx)
	if err := resp.send(u, header); err != nil {
		resp.release()
		return nil, err
	}
	if resp.status != http.StatusOK && resp.status != http.StatusPartialContent {
		return nil, errors.Join(resp.refused(), resp.Close())
	}
	if r.sawImage && resp.metadata().isPage() {
		return nil, errors.Join(r.failure(transfer.CodeServer, adviceOnPages, errPage), resp.Close())
	}
	return resp, nil
}

func (resp *response) send(u *url.URL, header http.Header) error {
	req, err := http.NewRequestWithContext(resp.ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return resp.remote.errNoURL()
	}
	req.Header = header.Clone()
	req.Header.Set("Accept-Encoding", "identity")
	got, err := resp.remote.client.Do(req) //nolint:bodyclose // Close does
	if err != nil {
		return resp.callError(err)
	}
	resp.status, resp.header, resp.from = got.StatusCode, got.Header, got.Request.URL
	resp.length, resp.body = got.ContentLength, got.Body
	resp.unframed = got.ContentLength < 0 && got.ProtoMajor == 1 && len(got.TransferEncoding) == 0
	return nil
}

// bind makes the end of ctx the end of the response, until unbind.
func (resp *response) bind(ctx context.Context) (unbind func() bool) {
	return context.AfterFunc(ctx, panics.Func(func() { resp.stop(ctx.Err()) }, resp.stop))
}

// reader reads the body. The context of each read replaces that of the request: its end ends the
// read, also while the server sends nothing.
func (resp *response) reader() readFunc {
	resp.unbind()
	return func(ctx context.Context, p []byte) (int, error) {
		unbind := resp.bind(ctx)
		defer unbind()
		return resp.Read(p)
	}
}

// Read reads the body; its errors are for users. A stalled server is CodeTimeout.
func (resp *response) Read(p []byte) (int, error) {
	n, err := resp.body.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = resp.callError(err)
	}
	return n, err
}

// Close discards the rest of the body.
func (resp *response) Close() error {
	_ = resp.body.Close() // its error would only say that the body was cut off
	resp.release()
	return nil
}

func (resp *response) release() {
	resp.unbind()
	resp.stop(nil)
}

// contentRange reads the header of a 206 (RFC 9110, 14.4): bytes FIRST-LAST/TOTAL.
func (resp *response) contentRange() (first, last, total int64, ok bool) {
	spec, found := strings.CutPrefix(resp.header.Get("Content-Range"), "bytes ")
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

// metadata is that of the response's headers. A body of HTTP/1 with neither a length nor chunks
// ends with the connection (RFC 9112, 6.3).
func (resp *response) metadata() metadata {
	return metadata{
		fileName: resp.remote.origin.Path, endsSilently: resp.unframed,
		contentType: resp.header.Get("Content-Type"), contentEncoding: resp.header.Get("Content-Encoding"),
	}
}
