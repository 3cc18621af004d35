// Package api is the client of the back-end API 1.0: REST with text/plain bodies of keys and values.
//
// It sends the strictest form of the protocol and accepts any that real endpoints answer. It tries nothing twice: whether
// an error may pass is in its code, and the worker has the one retry layer.
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
	"slices"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/transferd/transferd/internal/codec"
	"github.com/transferd/transferd/internal/lease"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transport"
)

// DefaultInFlight is how many requests a Client has under way at once if its Config does not say.
const DefaultInFlight = 16

// maxText bounds an answer of keys and values, in bytes: the description of some ten thousand drives.
const maxText = 32 << 20

// Config says where an endpoint is and how to log in.
type Config struct {
	Name     string // the endpoint's name, for messages
	URL      string // http or https, without credentials
	User     string
	Password string
	// FetchPassword fetches the password again, for one that may be rotated; nil: it stays. Its
	// errors never hold it.
	FetchPassword func(ctx context.Context) (string, error)
	CAFile        string       // PEM certificates to trust in addition to the system's; may be empty
	MaxInFlight   int          // requests at once; 0: DefaultInFlight
	Guard         *lease.Guard // ends connections when this process stands still; may be nil
}

// Client makes calls to one endpoint. It is safe for concurrent use; what Session makes of it shares its connections and
// its limit of requests in flight.
type Client struct {
	shared *endpoint
	http   http.RoundTripper // and no http.Client: nothing is followed, and no cookie kept
	meter  transfer.Meter
	down   *codec.Selector // whether reads are better compressed
}

// endpoint is what all sessions share. It has the password, so it has no String of its own and is
// never printed.
type endpoint struct {
	name     string
	base     string
	login    *login
	watchdog *transport.Watchdog // the top of the layers that all sessions share
	rtt      *transport.RTT      // one of them
	slots    *semaphore.Weighted
	inFlight int // how many slots there are
}

// New makes a client; it connects at the first call. Its errors have CodeInvalid.
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

// newDown estimates that inflating makes twice of what comes, at 200 MB/s on each core (measured on a file system's data).
func newDown() *codec.Selector {
	const speed, ratio = 200e6, 2
	cores := float64(runtime.GOMAXPROCS(0))
	return codec.NewSelector(func(plain float64) float64 { return min(cores*speed, ratio*plain) })
}

// Job is what the calls of one job have in common; each may be nil. Clients of several endpoints
// may share it.
type Job struct {
	Meter transfer.Meter // counts the bodies that are sent and received
	Limit *rate.Limiter  // what the bodies take together, in bytes a second; nil: as much as they can
	Lease *lease.Lease   // without its proof nothing is changed at the endpoint; nil: it always holds
}

// Session is the client for one job.
func (c *Client) Session(j Job) *Client { return c.shared.session(j) }

// session stacks the layers of one job on those of the endpoint; the order is that of package
// transport.
func (e *endpoint) session(j Job) *Client {
	var rt http.RoundTripper = &transport.Fence{Next: e.watchdog, Lease: j.Lease}
	if j.Meter != nil {
		rt = &transport.Meter{Next: rt, Meter: j.Meter}
	}
	if j.Limit != nil {
		rt = &transport.Limit{Next: rt, Rate: j.Limit}
	}
	return &Client{shared: e, http: &transport.CloseWait{Next: rt}, meter: j.Meter, down: newDown()}
}

// request is one call. Nothing of it is kept when do returns.
type request struct {
	op     string // for messages: "write drive X at 0"
	method string
	path   string // without leading slash
	body   []byte // sent with its length, never chunked (manual 7.2)
	kind   string // of body
	gzip   bool   // body is gzip'd
	accept string // encoding of the answer; empty: whatever
	// read takes the body of a 200; nil: any success will do, and the body is dropped.
	read func(resp *http.Response, body io.Reader) error
}

// do makes a call. When it returns, nothing reads r.body any more.
func (c *Client) do(ctx context.Context, r *request) error {
	err := c.shared.slots.Acquire(ctx, 1)
	if err != nil {
		return err
	}
	defer c.shared.slots.Release(1)
	if err = c.authorized(ctx, r); err == nil {
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

func (c *Client) exchange(ctx context.Context, r *request, password string) error {
	req, err := c.build(ctx, r, password)
	if err != nil {
		return err
	}
	resp, err := c.http.RoundTrip(req)
	if err != nil {
		return meanings.Failure(ctx, err)
	}
	defer resp.Body.Close()
	if err := c.answer(r, resp); err != nil {
		return meanings.Failure(ctx, err)
	}
	return nil
}

func (c *Client) answer(r *request, resp *http.Response) error {
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNoContent {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		return statusError(resp, text, len(r.body))
	}
	if r.read == nil {
		return drop(resp.Body)
	}
	return r.read(resp, resp.Body)
}

// drop reads a body that is not wanted to its end, so that the connection can be used again. A page
// of something that is not an endpoint is an error.
func drop(body io.Reader) error {
	head, err := io.ReadAll(io.LimitReader(body, 64))
	if err != nil {
		return err
	}
	if looksForeign(head) {
		return transfer.Errorf(transfer.CodeProtocol, notAPI, "the answer is a page that is not API 1.0's")
	}
	_, err = io.Copy(io.Discard, io.LimitReader(body, 64<<10))
	return err
}

func (c *Client) build(ctx context.Context, r *request, password string) (*http.Request, error) {
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
		req.Header.Set("Content-Type", r.kind)
	}
	if r.gzip {
		req.Header.Set("Content-Encoding", "gzip")
	}
	return req, nil
}

// everywhere is the paths that are there on every endpoint of API 1.0.
var everywhere = []string{
	"drives/create", "drives/info", "drives/list", "drives/standard/info", "drives/standard/list", "drives/standard/cd/list",
	"drives/standard/img/list", "profile/info",
}

// text makes a call that answers keys and values.
func (c *Client) text(ctx context.Context, op, method, path string, input []byte) (text []byte, err error) {
	text, _, err = c.textAndHeader(ctx, op, method, path, input)
	return text, err
}

// textAndHeader is text with the header of the answer.
func (c *Client) textAndHeader(
	ctx context.Context, op, method, path string, input []byte,
) (text []byte, header http.Header, err error) {
	r := &request{op: op, method: method, path: path, body: input, kind: "text/plain; charset=utf-8"}
	r.read = func(resp *http.Response, body io.Reader) error {
		header = resp.Header
		text, err = io.ReadAll(io.LimitReader(body, maxText+1))
		switch {
		case err != nil:
			return err
		case len(text) > maxText:
			return transfer.Errorf(transfer.CodeProtocol, notAPI, "the answer is longer than %d bytes", maxText)
		case looksForeign(text):
			return transfer.Errorf(transfer.CodeProtocol, notAPI, "the answer is not keys and values: %s", clean(text))
		}
		return nil
	}
	err = c.do(ctx, r)
	if transfer.CodeOf(err) == transfer.CodeNotFound && slices.Contains(everywhere, path) {
		err = &transfer.Error{Code: transfer.CodeProtocol, Hint: notAPI, Err: err}
	}
	if err != nil {
		return nil, header, err
	}
	return text, header, nil
}
