package certs

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
)

func write(t *testing.T, path string, content []byte) string {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestTrustHoldsTheCertificatesOfTheFile: without a file, Trust holds the system's certificates
// alone. It refuses a file without certificates.
func TestTrustHoldsTheCertificatesOfTheFile(t *testing.T) {
	cert, _ := transfertest.Certificate(t)
	for name, tc := range map[string]struct {
		content string
		code    transfer.Code
	}{
		"certificate": {string(cert), ""},
		"text":        {"no certificate", transfer.CodeInvalid},
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
		t.Errorf("missing file: got %v, want %s", err, transfer.CodeInvalid)
	}
	if trust, err := NewTrust(""); err != nil || trust.Roots() != nil {
		t.Errorf("without a file: got %v, %v; want nil", trust, err)
	}
}

// TestTrustIsRenewed: Trust reads a file again that was written again, replaced, or is the target
// of another link. While there is nothing to read, the last certificates stay.
func TestTrustIsRenewed(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ca.pem")
	var certs [4][]byte
	for i := range certs {
		certs[i], _ = transfertest.Certificate(t)
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
			t.Errorf("%s: got another pool than that of the file, or a new one at each call", what)
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

// TestPairIsRenewed: Pair serves the current certificate or, while its key is not renewed yet, the
// last pair.
func TestPairIsRenewed(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if _, err := NewPair(certFile, keyFile); transfer.CodeOf(err) != transfer.CodeInvalid {
		t.Errorf("missing files: got %v, want %s", err, transfer.CodeInvalid)
	}
	oldCert, oldKey := transfertest.Certificate(t)
	newCert, newKey := transfertest.Certificate(t)
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
			t.Errorf("%s: got another certificate than the expected one", what)
		}
	}
	serves("at first", oldCert)
	write(t, certFile, newCert)
	serves("between the two files", oldCert)
	write(t, keyFile, newKey)
	serves("renewed", newCert)
}
