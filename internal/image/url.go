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
	retry  Retry // of reads in order; nil: none is repeated
	// at is where the redirects of the first request led; nil: there was no request yet. Mirrors of
	// one image differ in their ETags, so later requests go there, too.
	at atomic.Pointer[url.URL]
	// served says that the first response was an image. It is set before other requests are made.
	served bool
}

func (r *remote) again(ctx context.Context, op func(ctx context.Context) error) error {
	if r.retry == nil {
		return op(ctx)
	}
	return r.retry(ctx, op)
}

// openURL opens an image that is read by offset, if its server supports ranges; otherwise one that
// is read in order.
func openURL(ctx context.Context, ref transfer.Ref, opts Options) (medium, error) {
	r := &remote{name: ref.Redacted(), retry: opts.Retry}
	var err error
	if r.origin, err = url.Parse(ref.Path); err != nil || r.origin.Host == "" {
		return nil, r.errNoURL()
	}
	layers, err := newLayers(opts)
	if err != nil {
		return nil, err
	}
	r.client = &http.Client{Transport: layers, CheckRedirect: checkRedirect}
	if !opts.InOrder {
		if m, err := r.probe(ctx); m != nil || err != nil {
			return m, err
		}
	}
	resp, err := r.fetch(ctx, http.Header{})
	if err != nil {
		return nil, err
	}
	return r.body(resp)
}

// probe requests the first bytes of the image. If the server responds with just these, the total
// size and a version, the image is read by offset; if it responds with the whole image, in order.
// Otherwise probe returns nil, and the image is requested as a whole.
func (r *remote) probe(ctx context.Context) (medium, error) {
	resp, err := r.fetch(ctx, http.Header{"Range": {fmt.Sprintf("bytes=0-%d", sampleSize-1)}})
	// Some servers answer a request for a range with 500. One that fails at everything fails again.
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
		return r.body(resp)
	}
	return nil, resp.Close()
}

// fetch requests the image from where redirects led before. If that address refuses it, because it
// has expired, for instance, the redirects are followed again.
func (r *remote) fetch(ctx context.Context, header http.Header) (*response, error) {
	if at := r.at.Load(); at != nil {
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

// pin sends later requests to where a redirect led, with the user and password that were meant for
// that host.
func (r *remote) pin(to *url.URL) {
	at := *to
	if at.Scheme == r.origin.Scheme && at.Host == r.origin.Host {
		at.User = r.origin.User
	}
	r.at.Store(&at)
}

// newLayers stacks what all requests for one image run through; the order is that of package
// transport.
func newLayers(opts Options) (rt http.RoundTripper, err error) {
	if rt = opts.transport; rt == nil {
		if rt, err = pool(); err != nil {
			return nil, err
		}
	}
	rt = &transport.Watchdog{Next: rt, Patience: cmp.Or(opts.patience, transport.DefaultPatience)}
	if opts.Limit != nil {
		rt = &transport.Limit{Next: rt, Rate: opts.Limit}
	}
	return rt, nil
}

// pool is the connections of all images, so that they are used again.
var pool = sync.OnceValues(func() (*transport.Pool, error) { return transport.New(transport.Config{MaxIdle: 16}) })

const hintFinalAddress = "give the address that it leads to"

// checkRedirect follows redirects, as of a public mirror, to http and https alone and never from
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
	// The client puts the address there that led here, and with it the query, by which a signed one
	// is read.
	req.Header.Del("Referer")
	return nil
}

// urlBody is an image behind a URL as a medium that is read once and in order.
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

// body makes a medium of a response, which it owns from then on.
func (r *remote) body(resp *response) (*urlBody, error) {
	if resp.length == 0 {
		return nil, errors.Join(errEmpty("open "+r.name), resp.Close())
	}
	r.served = !resp.labels().page()
	d := r.download(resp.version())
	d.use(resp)
	return &urlBody{remote: r, response: resp, download: d, in: newInput(d.Read, nil)}, nil
}

func (b *urlBody) name() string { return b.remote.name }

func (b *urlBody) labels() labels { return b.response.labels() }

// Size is what the server says; -1 if it does not.
func (b *urlBody) Size() int64 { return b.response.length }

// Identity is the version that the server says first; empty if it says none.
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

// Unchanged has nothing to compare: all bytes come from one version of the image (download).
func (b *urlBody) Unchanged(context.Context) error { return nil }

// Close discards the rest.
func (b *urlBody) Close() error { return b.download.Close() }
