package transport

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"sync"
	"time"

	"github.com/transferd/transferd/internal/certs"
	"github.com/transferd/transferd/internal/lease"
	"github.com/transferd/transferd/internal/panics"
)

// connectTimeout is how long connecting may take, and after it the handshake of TLS.
const connectTimeout = 10 * time.Second

// Config is what differs between the clients' pools of connections.
type Config struct {
	CAFile  string // PEM certificates to trust in addition to the system's; may be empty
	MaxIdle int    // connections kept open to each host; more are opened as requests need them
	// Writes says that jobs change something over the connections: they obey a Fence, and Close
	// resets them.
	Writes bool
	Guard  *lease.Guard // watches connections that write; may be nil
}

// Pool is a pool of connections, the innermost RoundTripper of each stack. When the file of trusted
// certificates changes, new connections use the new certificates, and old connections close after
// their calls. net/http reads a request's body in a goroutine of its own; a panic there becomes an
// error of the call. Pool is safe for concurrent use.
type Pool struct {
	cfg   Config
	trust *certs.Trust

	mu    sync.Mutex
	roots *x509.CertPool  // trusted by http
	http  *http.Transport // nil: not made yet
}

var _ http.RoundTripper = (*Pool)(nil)

// New makes a pool; it connects at the first call. Its errors are those of certs.NewTrust.
func New(cfg Config) (*Pool, error) {
	trust, err := certs.NewTrust(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	return &Pool{cfg: cfg, trust: trust}, nil
}

// RoundTrip implements http.RoundTripper.
func (p *Pool) RoundTrip(req *http.Request) (*http.Response, error) {
	return p.current().RoundTrip(withBody(req.Context(), req, panics.ReadCloser))
}

// CloseIdleConnections closes the connections that no call uses.
func (p *Pool) CloseIdleConnections() { p.current().CloseIdleConnections() }

// current is the transport that trusts the certificates of now.
func (p *Pool) current() *http.Transport {
	p.mu.Lock()
	defer p.mu.Unlock()
	roots := p.trust.Roots()
	if p.http != nil && roots == p.roots {
		return p.http
	}
	if p.http != nil {
		p.http.CloseIdleConnections()
	}
	p.http, p.roots = newTransport(p.cfg, roots), roots
	return p.http
}

// newTransport makes a transport that speaks HTTP/1.1 alone, with one connection for each request
// in flight: one HTTP/2 connection for all chunks was half as fast. It neither requests compression
// nor inflates, because the client chooses encodings.
func newTransport(cfg Config, roots *x509.CertPool) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dialer{cfg.Writes, cfg.Guard}.dial,
		TLSHandshakeTimeout: connectTimeout,
		TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		Protocols:           protocols,
		MaxIdleConnsPerHost: cfg.MaxIdle,
		IdleConnTimeout:     90 * time.Second,
		DisableCompression:  true,
		WriteBufferSize:     64 << 10,
		ReadBufferSize:      64 << 10,
	}
}
