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
func openURL(ctx context.Context, ref transfer.Ref, opts Options) (transfer.Source, error) {
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
	a, err := r.get(ctx, r.origin, http.Header{"Range": {fmt.Sprintf("bytes=0-%d", sniffSize-1)}})
	if err != nil {
		return nil, err
	}
	src, err := r.ranged(a)
	if err != nil {
		return nil, errors.Join(err, a.Close())
	}
	if src != nil {
		return src, a.Close()
	}
	if a.status == http.StatusOK {
		return r.stream(ctx, a, opts)
	}
	// Ranges are no use here, so the image is asked for as a whole.
	if err := a.Close(); err != nil {
		return nil, err
	}
	if a, err = r.get(ctx, r.origin, http.Header{}); err != nil {
		return nil, err
	}
	return r.stream(ctx, a, opts)
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

// stream reads an image as it comes. It owns a from then on.
func (r *remote) stream(ctx context.Context, a *answer, opts Options) (transfer.Source, error) {
	if a.length == 0 {
		return nil, errors.Join(errEmpty("open "+r.name), a.Close())
	}
	s := &stream{name: r.name, file: r.origin.Path, identity: a.version(), limit: opts.MaxSize, close: a.Close}
	if err := s.start(ctx, a, a.length); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	a.unbind()
	return &urlStream{stream: s, answer: a}, nil
}

// urlStream is an image that is fetched in one go.
type urlStream struct {
	*stream
	answer *answer
}

var _ transfer.Stream = (*urlStream)(nil)

// Next hands out what follows; it does not outlive ctx even while the server sends nothing.
func (s *urlStream) Next(ctx context.Context, p []byte) (int, error) {
	unbind := s.answer.bind(ctx)
	defer unbind()
	return s.stream.Next(ctx, p)
}
