package image

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transport"
)

const maxRedirects = 10

// remote is an image behind a URL.
type remote struct {
	name   string // for messages, without secrets
	origin *url.URL
	client *http.Client
	retry  Retry // of reads in order; nil: no read is repeated
	// redirected is the address that the redirects of the first request led to; nil: there was no
	// request yet. Mirrors of one image differ in their ETags, so later requests go to the same
	// one.
	redirected atomic.Pointer[url.URL]
	// sawImage says that the first response was an image. It is set before any other request.
	sawImage bool
}

func (r *remote) withRetry(ctx context.Context, op func(ctx context.Context) error) error {
	if r.retry == nil {
		return op(ctx)
	}
	return r.retry(ctx, op)
}

// newRemote prepares requests for the resource at a URL.
func newRemote(ref transfer.Ref, opts Options) (r *remote, err error) {
	r = &remote{name: ref.Redacted(), retry: opts.Retry}
	if r.origin, err = url.Parse(ref.Path); err != nil || r.origin.Host == "" {
		return nil, r.errNoURL()
	}
	layers, err := newLayers(r.origin, opts)
	if err != nil {
		return nil, err
	}
	r.client = &http.Client{Transport: layers, CheckRedirect: checkRedirect}
	return r, nil
}

// openURL opens an image for reads by offset, if its server supports ranges, and for reads in order
// otherwise.
func openURL(ctx context.Context, ref transfer.Ref, opts Options) (medium, error) {
	r, err := newRemote(ref, opts)
	if err != nil {
		return nil, err
	}
	if !opts.InOrder {
		if m, err := r.openRanged(ctx); m != nil || err != nil {
			return m, err
		}
	}
	resp, err := r.fetch(ctx, http.Header{})
	if err != nil {
		return nil, err
	}
	return r.newBody(resp)
}

// openRanged requests the first bytes of the image. If the server responds with only these, the
// total size and a version, the image is read by offset. If it responds with the whole image, the
// image is read in order. Otherwise openRanged returns nil, and the caller requests the whole
// image.
func (r *remote) openRanged(ctx context.Context) (medium, error) {
	resp, err := r.fetch(ctx, http.Header{"Range": {fmt.Sprintf("bytes=0-%d", sampleSize-1)}})
	// Some servers respond to a request for a range with 500. A server that always fails will fail
	// at the next request, too.
	if rangeRefused(err) || statusOf(err) == http.StatusInternalServerError {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	u, err := r.ranged(resp)
	switch {
	case err != nil:
		return nil, errors.Join(err, resp.Close())
	case u != nil:
		return u, resp.Close()
	case resp.status == http.StatusOK:
		return r.newBody(resp)
	}
	return nil, resp.Close()
}

// fetch requests the image from the address that redirects led to before. If that refuses the
// request, for instance because it has expired, fetch follows the redirects again.
func (r *remote) fetch(ctx context.Context, header http.Header) (*response, error) {
	if at := r.redirected.Load(); at != nil {
		resp, err := r.get(ctx, at, header)
		status := statusOf(err)
		expired := status >= 400 && status < 500 || errors.Is(err, errPage)
		if !expired || *at == *r.origin {
			return resp, err
		}
	}
	resp, err := r.get(ctx, r.origin, header)
	if err == nil {
		r.pin(resp.from)
	}
	return resp, err
}

// pin makes later requests go to the address that a redirect led to. They have the user and
// password of the URL only if that is on the same host.
func (r *remote) pin(to *url.URL) {
	at := *to
	if at.Scheme == r.origin.Scheme && at.Host == r.origin.Host {
		at.User = r.origin.User
	}
	r.redirected.Store(&at)
}

// newLayers is the HTTP stack of all requests for the image at origin, in the order of package
// transport.
func newLayers(origin *url.URL, opts Options) (rt http.RoundTripper, err error) {
	if rt = opts.transport; rt == nil {
		if rt, err = pool(); err != nil {
			return nil, err
		}
	}
	rt = &transport.Watchdog{Next: rt, Timeouts: cmp.Or(opts.timeouts, transport.DefaultTimeouts)}
	if opts.Limit != nil {
		rt = &transport.Limit{Next: rt, Rate: opts.Limit}
	}
	if len(opts.Credentials) > 0 {
		rt = &authorization{next: rt, origin: origin, credentials: opts.Credentials}
	}
	return rt, nil
}

// pool has the connections of all images, to reuse them.
var pool = sync.OnceValues(func() (*transport.Pool, error) { return transport.New(transport.Config{MaxIdle: 16}) })

const hintFinalAddress = "give the address that the redirect leads to"

// checkRedirect allows redirects, as of a public mirror, to http and https only, and none from
// https to http.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return transfer.Errorf(transfer.CodeProtocol, hintFinalAddress, "more than %d redirects", maxRedirects)
	}
	if req.URL.Scheme != "http" && req.URL.Scheme != "https" {
		return transfer.Errorf(transfer.CodeProtocol, hintFinalAddress, "redirected to a %s address", req.URL.Scheme)
	}
	if req.URL.Scheme == "http" && via[len(via)-1].URL.Scheme == "https" {
		return transfer.Errorf(transfer.CodeProtocol, "if the image may come without TLS, "+hintFinalAddress,
			"redirected from https to http")
	}
	// The client sets Referer to the previous address. A signed one has its secret in the query.
	req.Header.Del("Referer")
	return nil
}

// urlBody is an image behind a URL as a medium that can be read once, in order.
type urlBody struct {
	remote   *remote
	response *response // the first one
	download *download
	in       *input
}

var (
	_ medium             = (*urlBody)(nil)
	_ transfer.Resembler = (*urlBody)(nil)
)

// newBody makes a medium of a response, and owns the response.
func (r *remote) newBody(resp *response) (*urlBody, error) {
	if resp.length == 0 {
		return nil, errors.Join(errEmpty("open "+r.name), resp.Close())
	}
	r.sawImage = !resp.metadata().isPage()
	d := r.download(resp.version())
	d.setResponse(resp)
	return &urlBody{remote: r, response: resp, download: d, in: newInput(d.Read, nil)}, nil
}

func (b *urlBody) name() string { return b.remote.name }

func (b *urlBody) metadata() metadata { return b.response.metadata() }

// Size is the size in the response; -1 if the response has none.
func (b *urlBody) Size() int64 { return b.response.length }

// Identity is the version in the first response; empty if there is none.
func (b *urlBody) Identity() string {
	if v := b.response.version(); v.validator() != "" {
		return v.String()
	}
	return ""
}

// Resembles reports whether an image of that identity may have the same bytes.
func (b *urlBody) Resembles(identity string) bool {
	return b.response.version().resemblesIdentity(identity)
}

func (b *urlBody) head(ctx context.Context, n int) ([]byte, error) { return b.in.head(ctx, n) }

func (b *urlBody) random() transfer.RandomAccess { return nil }

func (b *urlBody) stream(context.Context) (*input, error) { return b.in, nil }

// Unchanged does nothing: all bytes come from one version of the image (download).
func (b *urlBody) Unchanged(context.Context) error { return nil }

// Close closes the current response.
func (b *urlBody) Close() error { return b.download.Close() }
