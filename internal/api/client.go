// Package api is the client of the back-end API 1.0: REST with text/plain bodies of keys and
// values.
//
// It sends the strictest form of the protocol, and accepts every form that real endpoints send. It
// does not retry: the code of an error says whether a retry may help, and its callers have the
// retry layer. Reads, and calls that set something, are idempotent. A call that makes something is
// a Creation, which is safe to retry.
//
// Each section of the API has a file with its calls. The doc comment of a call names its method and
// path, and the section of the manual.
package api

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/transferd/transferd/internal/codec"
	"github.com/transferd/transferd/internal/lease"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transport"
)

// DefaultInFlight is how many requests a Client has in flight at most if its Config does not say.
const DefaultInFlight = 16

// maxText bounds a response of keys and values, in bytes: the description of some ten thousand
// drives.
const maxText = 32 << 20

// Config is the address of an endpoint, and how to log in.
type Config struct {
	Name     string // the endpoint's name, for messages
	URL      string // http or https, without credentials
	User     string
	Password string
	// FetchPassword fetches the current password, for passwords that may be rotated; nil: the
	// password does not change. Its errors never contain the password.
	FetchPassword func(ctx context.Context) (string, error)
	CAFile        string       // PEM certificates to trust in addition to the system's; may be empty
	MaxInFlight   int          // requests in flight; 0: DefaultInFlight
	Guard         *lease.Guard // resets connections when this process is stopped; may be nil
}

// Client makes calls to one endpoint. It is safe for concurrent use. Clients from Session share its
// connections and its limit of requests in flight.
type Client struct {
	shared       *endpoint
	http         http.RoundTripper // not an http.Client, which would follow redirects and keep cookies
	meter        transfer.Meter
	readEncoding *codec.Selector // chooses gzip or plain for reads
}

// endpoint is the state that all sessions share. It has the password, so it has no String method
// and is never printed.
type endpoint struct {
	name     string
	base     string
	login    *login
	watchdog *transport.Watchdog // the outermost of the layers that all sessions share
	rtt      *transport.RTT      // one of them
	slots    *semaphore.Weighted
	inFlight int // the number of slots
}

// New makes a client, which connects at the first call. Errors are CodeInvalid.
func New(cfg Config) (*Client, error) {
	base, err := transfer.EndpointURL(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", cfg.Name, err)
	}
	inFlight := cmp.Or(cfg.MaxInFlight, DefaultInFlight)
	pool, err := transport.New(transport.Config{CAFile: cfg.CAFile, MaxIdle: inFlight, Writes: true, Guard: cfg.Guard})
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: ca_file: %w", cfg.Name, err)
	}
	rtt := &transport.RTT{Next: pool}
	e := &endpoint{
		name: cfg.Name, base: base, login: newLogin(&cfg),
		watchdog: &transport.Watchdog{Next: rtt, Timeouts: transport.DefaultTimeouts}, rtt: rtt,
		slots: semaphore.NewWeighted(int64(inFlight)), inFlight: inFlight,
	}
	return e.session(Job{}), nil
}

// newReadEncoding starts with the estimate that gzip halves the data, and that each core inflates
// 200 MB/s (measured with the data of a file system).
func newReadEncoding() *codec.Selector {
	const speed, ratio = 200e6, 2
	cores := float64(runtime.GOMAXPROCS(0))
	return codec.NewSelector(func(plain float64) float64 { return min(cores*speed, ratio*plain) })
}

// Job is what the calls of one job have in common; each field may be nil. Clients of several
// endpoints may share it.
type Job struct {
	Meter transfer.Meter // counts the bytes of bodies in both directions
	Limit *rate.Limiter  // of all bodies together, in bytes a second; nil: none
	Lease *lease.Lease   // its proof is needed to change anything at the endpoint; nil: none is needed
}

// Session is the client for one job.
func (c *Client) Session(j Job) *Client { return c.shared.session(j) }

// session stacks the layers of one job on those of the endpoint, in the order of package transport.
func (e *endpoint) session(j Job) *Client {
	var rt http.RoundTripper = &transport.Fence{Next: e.watchdog, Lease: j.Lease}
	if j.Meter != nil {
		rt = &transport.Meter{Next: rt, Meter: j.Meter}
	}
	if j.Limit != nil {
		rt = &transport.Limit{Next: rt, Rate: j.Limit}
	}
	return &Client{shared: e, http: &transport.CloseWait{Next: rt}, meter: j.Meter, readEncoding: newReadEncoding()}
}

// request is one call. After do, nothing refers to it.
type request struct {
	op          string // for messages: "write drive X at 0"
	method      string
	path        string // without leading slash
	about       *kind  // what the call is about, for messages; nil: anything
	body        []byte // sent with its length, never chunked (manual 7.2)
	contentType string // of body
	gzip        bool   // body is compressed
	accept      string // encoding of the response; empty: any
	// read reads the body of a success; nil: the body is discarded.
	read func(resp *http.Response, body io.Reader) error
}

// do makes a call. After it returns, nothing reads r.body.
func (c *Client) do(ctx context.Context, r *request) error {
	err := c.shared.slots.Acquire(ctx, 1)
	if err != nil {
		return err
	}
	defer c.shared.slots.Release(1)
	if err = c.callAuthorized(ctx, r); err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return err
	}
	out := &transfer.Error{Op: r.op + " on " + c.shared.name, Code: transfer.CodeOf(err), Err: err}
	var e *transfer.Error
	if errors.As(err, &e) {
		out.Hint, out.RetryAfter = e.Hint, e.RetryAfter
	}
	return out
}

func (c *Client) roundTrip(ctx context.Context, r *request, password string) error {
	req, err := c.newRequest(ctx, r, password)
	if err != nil {
		return err
	}
	resp, err := c.http.RoundTrip(req)
	if err != nil {
		return meanings.Failure(ctx, err)
	}
	defer resp.Body.Close()
	if err := c.readResponse(r, resp); err != nil {
		return meanings.Failure(ctx, err)
	}
	return nil
}

func (c *Client) readResponse(r *request, resp *http.Response) error {
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNoContent {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		return responseError(resp, text, len(r.body), r.about)
	}
	if r.read == nil {
		return drainBody(resp.Body)
	}
	return r.read(resp, resp.Body)
}

// drainBody discards a body, so that the connection can be reused. The page of a server that is no
// endpoint is an error.
func drainBody(body io.Reader) error {
	head, err := io.ReadAll(io.LimitReader(body, 64))
	if err != nil {
		return err
	}
	if isHTMLOrJSON(head) {
		return transfer.Errorf(transfer.CodeProtocol, hintNotAPI, "the response is a page that is not API 1.0's")
	}
	_, err = io.Copy(io.Discard, io.LimitReader(body, 64<<10))
	return err
}

func (c *Client) newRequest(ctx context.Context, r *request, password string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, c.shared.base+"/"+r.path, bytes.NewReader(r.body))
	if err != nil {
		return nil, transfer.Errorf(transfer.CodeInvalid, "", "%w", transport.WithoutURL(err))
	}
	req.SetBasicAuth(c.shared.login.user, password)
	req.Header.Set("User-Agent", "transferd")
	if r.accept != "" {
		req.Header.Set("Accept-Encoding", r.accept)
	}
	if len(r.body) > 0 {
		req.Header.Set("Content-Type", r.contentType)
	}
	if r.gzip {
		req.Header.Set("Content-Encoding", "gzip")
	}
	return req, nil
}
