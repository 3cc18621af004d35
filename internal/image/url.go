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

// openURL asks for the first bytes of the image. A server that answers with just them, says how large the image is and
// names its version can be read anywhere, unless the image is compressed; what every other server answers is the image
// itself, which is read as it comes. A compressed image is not unpacked beforehand to learn its size, for that would
// fetch it twice: its job has to say how large the drive is to be.
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
	a, err := r.get(ctx, r.origin, http.Header{"Range": {fmt.Sprintf("bytes=0-%d", headSize-1)}})
	if err != nil {
		return nil, err
	}
	u, err := r.ranged(a)
	if err != nil {
		return nil, errors.Join(err, a.Close())
	}
	if u != nil {
		return u, a.Close()
	}
	if a.status == http.StatusOK {
		return r.body(a)
	}
	// Ranges are no use here, so the image is asked for as a whole.
	if err := a.Close(); err != nil {
		return nil, err
	}
	if a, err = r.get(ctx, r.origin, http.Header{}); err != nil {
		return nil, err
	}
	return r.body(a)
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
var pool = sync.OnceValues(func() (*http.Transport, error) { return transport.New(transport.Config{MaxIdle: 16}) })

// checkRedirect follows a public mirror's redirects, but to the web only, and never from where nobody listens to where
// everybody may.
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
	// The client puts the address there that led here, and with it the query, by which a signed one is read.
	req.Header.Del("Referer")
	return nil
}

// urlBody is the body of one answer as a medium, which is read once and in order.
type urlBody struct {
	remote *remote
	answer *answer
	in     *input
}

var _ medium = (*urlBody)(nil)

// body makes a medium of an answer, which it owns from then on.
func (r *remote) body(a *answer) (*urlBody, error) {
	if a.length == 0 {
		return nil, errors.Join(errEmpty("open "+r.name), a.Close())
	}
	return &urlBody{remote: r, answer: a, in: newInput(a.reader(), nil)}, nil
}

func (b *urlBody) name() string { return b.remote.name }

func (b *urlBody) fileName() string { return b.remote.origin.Path }

// Size is what the server says; -1 if it does not.
func (b *urlBody) Size() int64 { return b.answer.length }

// Identity is the version that the server says.
func (b *urlBody) Identity() string { return b.answer.version() }

func (b *urlBody) head(ctx context.Context, n int) ([]byte, error) { return b.in.head(ctx, n) }

func (b *urlBody) random() transfer.RandomAccess { return nil }

func (b *urlBody) stream(context.Context) (*input, error) { return b.in, nil }

// Unchanged has nothing to compare: what is read is one answer.
func (b *urlBody) Unchanged(context.Context) error { return nil }

// Close gives up what has not been read.
func (b *urlBody) Close() error { return b.answer.Close() }
