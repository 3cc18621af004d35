package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"

	"github.com/transferd/transferd/internal/certs"
	"github.com/transferd/transferd/internal/status"
	"github.com/transferd/transferd/internal/transfer"
)

// listenHTTP listens for requests to the status API. An address that other hosts can reach needs a
// token and TLS.
func (d *daemon) listenHTTP(ctx context.Context) (net.Listener, status.Guard, error) {
	h := &d.cfg.HTTP
	guard := status.Guard{Hosts: h.Hosts}
	var err error
	if guard.Token, err = h.Token(ctx); err != nil {
		return nil, guard, err
	}
	l, err := listenOn(d.cfg.Listen)
	if err != nil {
		return nil, guard, err
	}
	if !l.Addr().(*net.TCPAddr).IP.IsLoopback() && (guard.Token == "" || h.CertFile == "") {
		err := transfer.Errorf(transfer.CodeInvalid,
			"set a token, cert_file and key_file under `http:`, or listen on 127.0.0.1",
			"other hosts can reach the status API at %s, and it has no token or no TLS", d.cfg.Listen)
		return nil, guard, errors.Join(err, l.Close())
	}
	if h.CertFile == "" {
		return l, guard, nil
	}
	pair, err := certs.NewPair(h.CertFile, h.KeyFile)
	if err != nil {
		return nil, guard, errors.Join(fmt.Errorf("http: cert_file and key_file: %w", err), l.Close())
	}
	cfg := &tls.Config{GetCertificate: pair.GetCertificate, MinVersion: tls.VersionTLS12}
	return tls.NewListener(l, cfg), guard, nil
}

// guardedHandler is a handler behind a guard that may be replaced. It is safe for concurrent use.
type guardedHandler struct {
	next  http.Handler
	guard atomic.Pointer[status.Guard]
}

func newGuardedHandler(guard status.Guard, next http.Handler) *guardedHandler {
	h := &guardedHandler{next: next}
	h.guard.Store(&guard)
	return h
}

// ServeHTTP implements http.Handler.
func (h *guardedHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.guard.Load().Wrap(h.next).ServeHTTP(w, r)
}
