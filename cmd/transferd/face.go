package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"

	"github.com/transferd/transferd/internal/status"
	"github.com/transferd/transferd/internal/transfer"
)

// openFace listens for the HTTP face. What others than this host can reach has to have a token and TLS.
func (d *daemon) openFace(ctx context.Context) (net.Listener, status.Guard, error) {
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
		err := transfer.Errorf(transfer.CodeInvalid, "set a token, cert_file and key_file under `http:`, or listen on 127.0.0.1",
			"others can reach the status API at %s, and it has no token or no TLS", d.cfg.Listen)
		return nil, guard, errors.Join(err, l.Close())
	}
	if h.CertFile == "" {
		return l, guard, nil
	}
	cert, err := tls.LoadX509KeyPair(h.CertFile, h.KeyFile)
	if err != nil {
		err := transfer.Errorf(transfer.CodeInvalid, "give the paths of PEM files that belong together", "http: read cert_file and key_file: %w", err)
		return nil, guard, errors.Join(err, l.Close())
	}
	return tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}), guard, nil
}
