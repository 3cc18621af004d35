package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

func write(t *testing.T, path string, content []byte) string {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// newPair is a certificate that signs itself and its key, both in PEM.
func newPair(t *testing.T) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{SerialNumber: serial, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, about, about, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// TestTrustHoldsTheCertificatesOfTheFile trusts the system's certificates alone without a file, those of the file with one, and
// refuses a file without any.
func TestTrustHoldsTheCertificatesOfTheFile(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	for name, tc := range map[string]struct {
		content string
		code    transfer.Code
	}{
		"certificate": {string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})), ""},
		"words":       {"no certificate", transfer.CodeInvalid},
		"empty":       {"", transfer.CodeInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			trust, err := NewTrust(write(t, filepath.Join(t.TempDir(), "ca.pem"), []byte(tc.content)))
			if code := transfer.CodeOf(err); code != tc.code || code == "" && trust.Roots() == nil {
				t.Errorf("got %v; want %q", err, tc.code)
			}
		})
	}
	if _, err := NewTrust(filepath.Join(t.TempDir(), "none.pem")); transfer.CodeOf(err) != transfer.CodeInvalid {
		t.Errorf("of no file: got %v, want %s", err, transfer.CodeInvalid)
	}
	if trust, err := NewTrust(""); err != nil || trust.Roots() != nil {
		t.Errorf("without a file: got %v, %v; want nil", trust, err)
	}
}

// TestTrustIsRenewed reads a file again that was written again, replaced, or is led to by another
// link, and keeps what it had while there is nothing to read.
func TestTrustIsRenewed(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ca.pem")
	var certs [4][]byte
	for i := range certs {
		certs[i], _ = newPair(t)
	}
	trust, err := NewTrust(write(t, path, certs[0]))
	if err != nil {
		t.Fatal(err)
	}
	holds := func(what string, cert []byte) {
		t.Helper()
		want := x509.NewCertPool()
		if system, err := x509.SystemCertPool(); err == nil {
			want = system
		}
		want.AppendCertsFromPEM(cert)
		if got := trust.Roots(); !got.Equal(want) || got != trust.Roots() {
			t.Errorf("%s: not what the file holds, or not the same twice", what)
		}
	}
	holds("at first", certs[0])
	write(t, path, certs[1])
	holds("written again", certs[1])
	if err := os.Rename(write(t, filepath.Join(dir, "new"), certs[2]), path); err != nil {
		t.Fatal(err)
	}
	holds("replaced", certs[2])
	write(t, path, nil)
	holds("empty", certs[2])
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	holds("removed", certs[2])
	if err := os.Symlink(write(t, filepath.Join(dir, "linked"), certs[3]), path); err != nil {
		t.Fatal(err)
	}
	holds("linked", certs[3])
}

// TestPairIsRenewed serves the certificate that is there, and the last one that had its key.
func TestPairIsRenewed(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if _, err := NewPair(certFile, keyFile); transfer.CodeOf(err) != transfer.CodeInvalid {
		t.Errorf("of no files: got %v, want %s", err, transfer.CodeInvalid)
	}
	oldCert, oldKey := newPair(t)
	newCert, newKey := newPair(t)
	pair, err := NewPair(write(t, certFile, oldCert), write(t, keyFile, oldKey))
	if err != nil {
		t.Fatal(err)
	}
	serves := func(what string, want []byte) {
		t.Helper()
		got, err := pair.GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		if string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: got.Certificate[0]})) != string(want) {
			t.Errorf("%s: another certificate", what)
		}
	}
	serves("at first", oldCert)
	write(t, certFile, newCert)
	serves("between the two files", oldCert)
	write(t, keyFile, newKey)
	serves("renewed", newCert)
}
