package transport

import (
	"crypto/tls"
	"net/http"
	"time"

	"github.com/transferd/transferd/internal/certs"
)

// connectTimeout is how long connecting may take, and after it the handshake of TLS.
const connectTimeout = 10 * time.Second

// Config is what differs between the clients' pools of connections.
type Config struct {
	CAFile  string // PEM certificates to trust in addition to the system's; may be empty
	MaxIdle int    // connections kept open to each host; more are opened as requests need them
}

// New makes a pool of connections, the innermost RoundTripper of each stack; it connects at the
// first call. Its errors are those of certs.Roots. It speaks HTTP/1.1 alone, one connection for
// each request in flight: one HTTP/2 connection for all chunks was half as fast. It never asks for
// compression nor inflates: encodings are the client's to choose.
func New(cfg Config) (*http.Transport, error) {
	roots, err := certs.Roots(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dial,
		TLSHandshakeTimeout: connectTimeout,
		TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		Protocols:           protocols,
		MaxIdleConnsPerHost: cfg.MaxIdle,
		IdleConnTimeout:     90 * time.Second,
		DisableCompression:  true,
		WriteBufferSize:     64 << 10,
		ReadBufferSize:      64 << 10,
	}, nil
}
