package transport

import (
	"context"
	"io"
	"net/http"
)

// wrapFunc wraps a request's body in that of a layer, whose Close closes both.
type wrapFunc func(io.ReadCloser) io.ReadCloser

// withBody is a copy of req with ctx and with wrapped bodies: the one that it has, and each one
// that GetBody opens to send the request again on another connection. A RoundTripper must not
// change req itself.
func withBody(ctx context.Context, req *http.Request, wrap wrapFunc) *http.Request {
	out := req.WithContext(ctx)
	if req.Body == nil || req.Body == http.NoBody {
		return out
	}
	out.Body = wrap(req.Body)
	if req.GetBody != nil {
		out.GetBody = (&reopener{open: req.GetBody, wrap: wrap}).body
	}
	return out
}

// reopener opens a request's body again, wrapped.
type reopener struct {
	open func() (io.ReadCloser, error)
	wrap wrapFunc
}

func (r *reopener) body() (io.ReadCloser, error) {
	body, err := r.open()
	if err != nil {
		return nil, err
	}
	return r.wrap(body), nil
}
