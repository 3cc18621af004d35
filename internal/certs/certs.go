// Package certs loads the certificates by which the other side of a connection is verified.
package certs

import (
	"crypto/x509"
	"os"

	"github.com/transferd/transferd/internal/transfer"
)

// Roots is the system's certificates and those of a file, PEM; without a file nil, by which
// crypto/tls means the system's. Errors have CodeInvalid.
func Roots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, transfer.Errorf(transfer.CodeInvalid, "give the path of a file of certificates in PEM", "read certificates to trust: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, transfer.Errorf(transfer.CodeInvalid, "give a file of certificates in PEM", "%s holds no certificate", file)
	}
	return roots, nil
}
