package image

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transport"
)

const maxRedirects = 10

// remote is an image behind a URL.
type remote struct {
	name   string // for messages, without secrets
	origin *url.URL
	client *http.Client
}

// openURL requests the first bytes of the image. If the server responds with just these, the size
// of the whole and its version, the medium is read by offset; otherwise it is the body of one
// response, read in order.
func openURL(ctx context.Context, ref transfer.Ref, opts Options) (medium, error) {
	r := &remote{name: ref.Redacted()}
	var err error
	if r.origin, err = url.Parse(ref.Path); err != nil || r.origin.Host == "" {
		return nil, r.errNoURL()
	}
	layers, err := newLayers(opts)
	if err != nil {
		return nil, err
	}
	r.client = &http.Client{Transport: layers, CheckRedirect: checkRedirect}
	resp, err := r.get(ctx, r.origin, http.Header{"Range": {fmt.Sprintf("bytes=0-%d", sampleSize-1)}})
	if err != nil {
		return nil, err
	}
	u, err := r.ranged(resp)
	if err != nil {
		return nil, errors.Join(err, resp.Close())
	}
	if u != nil {
		return u, resp.Close()
	}
	if resp.status == http.StatusOK {
		return r.body(resp)
	}
	// Ranges are no use here, so the image is asked for as a whole.
	if err := resp.Close(); err != nil {
		return nil, err
	}
	if resp, err = r.get(ctx, r.origin, http.Header{}); err != nil {
		return nil, err
	}
	return r.body(resp)
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

// checkRedirect follows redirects, as of a public mirror, to http and https alone and never from
// https to http.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return transfer.Errorf(transfer.CodeProtocol, "give the address that it leads to", "more than %d redirects", maxRedirects)
	}
	if req.URL.Scheme != "http" && req.URL.Scheme != "https" {
		return transfer.Errorf(transfer.CodeProtocol, "give the address that it leads to", "redirected to a %s address", req.URL.Scheme)
	}
	if req.URL.Scheme == "http" && via[len(via)-1].URL.Scheme == "https" {
		return transfer.Errorf(transfer.CodeProtocol, "if the image may come without TLS, give the address that it leads to", "redirected from https to http")
	}
	// The client puts the address there that led here, and with it the query, by which a signed one
	// is read.
	req.Header.Del("Referer")
	return nil
}

// urlBody is the body of one response as a medium, which is read once and in order.
type urlBody struct {
	remote   *remote
	response *response
	in       *input
}

var _ medium = (*urlBody)(nil)

// body makes a medium of a response, which it owns from then on.
func (r *remote) body(resp *response) (*urlBody, error) {
	if resp.length == 0 {
		return nil, errors.Join(errEmpty("open "+r.name), resp.Close())
	}
	return &urlBody{remote: r, response: resp, in: newInput(resp.reader(), nil)}, nil
}

func (b *urlBody) name() string { return b.remote.name }

func (b *urlBody) labels() labels { return b.response.labels() }

// Size is what the server says; -1 if it does not.
func (b *urlBody) Size() int64 { return b.response.length }

// Identity is the version that the server says.
func (b *urlBody) Identity() string { return b.response.version() }

func (b *urlBody) head(ctx context.Context, n int) ([]byte, error) { return b.in.head(ctx, n) }

func (b *urlBody) random() transfer.RandomAccess { return nil }

func (b *urlBody) stream(context.Context) (*input, error) { return b.in, nil }

// Unchanged has nothing to compare: what is read is one response.
func (b *urlBody) Unchanged(context.Context) error { return nil }

// Close gives up what has not been read.
func (b *urlBody) Close() error { return b.response.Close() }
