package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/transferd/transferd/internal/config"
	"github.com/transferd/transferd/internal/transfer"
)

// writePair writes a self-signed certificate and its key.
func writePair(t *testing.T) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:        true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return certFile, keyFile, pool
}

// TestOtherHostsNeedTokenAndTLS: the status API listens on an address that other hosts can reach
// only with a token and TLS.
func TestOtherHostsNeedTokenAndTLS(t *testing.T) {
	cert, key, _ := writePair(t)
	t.Setenv("API_TOKEN", "0123456789abcdef")
	t.Setenv("SHORT_TOKEN", "0123")
	for name, tc := range map[string]struct {
		listen string
		http   config.HTTP
		code   transfer.Code
	}{
		"loopback":             {"127.0.0.1:0", config.HTTP{}, ""},
		"loopback, by name":    {"localhost:0", config.HTTP{}, ""},
		"all addresses":        {"0.0.0.0:0", config.HTTP{}, transfer.CodeInvalid},
		"no address":           {":0", config.HTTP{}, transfer.CodeInvalid},
		"without TLS":          {"0.0.0.0:0", config.HTTP{TokenEnv: "API_TOKEN"}, transfer.CodeInvalid},
		"without token":        {"0.0.0.0:0", config.HTTP{CertFile: cert, KeyFile: key}, transfer.CodeInvalid},
		"with both":            {"0.0.0.0:0", config.HTTP{TokenEnv: "API_TOKEN", CertFile: cert, KeyFile: key}, ""},
		"loopback, with token": {"127.0.0.1:0", config.HTTP{TokenEnv: "API_TOKEN"}, ""},
		"token is not set":     {"127.0.0.1:0", config.HTTP{TokenEnv: "NO_TOKEN"}, transfer.CodeInvalid},
		"token too short":      {"127.0.0.1:0", config.HTTP{TokenEnv: "SHORT_TOKEN"}, transfer.CodeInvalid},
		"key as certificate":   {"127.0.0.1:0", config.HTTP{CertFile: key, KeyFile: key}, transfer.CodeInvalid},
	} {
		d := &daemon{cfg: &config.Config{Listen: tc.listen, HTTP: tc.http}}
		l, _, err := d.listenHTTP(t.Context())
		if transfer.CodeOf(err) != tc.code {
			t.Errorf("%s: got %v, want code %q", name, err, tc.code)
		}
		if err == nil {
			_ = l.Close()
		}
	}
}

// TestTokenIsCheckedOverTLS sends requests over TLS, without and with the token of a file.
func TestTokenIsCheckedOverTLS(t *testing.T) {
	cert, key, pool := writePair(t)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := &daemon{cfg: &config.Config{
		Listen: "127.0.0.1:0", HTTP: config.HTTP{TokenFile: token, CertFile: cert, KeyFile: key},
	}}
	l, guard, err := d.listenHTTP(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: guard.Wrap(http.NotFoundHandler()), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	client := &http.Client{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true},
		Timeout:   time.Minute,
	}
	for header, status := range map[string]int{"": 401, "Bearer 0123456789abcdef": 404} {
		url := "https://" + l.Addr().String() + "/jobs"
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", header)
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode != status {
			t.Errorf("with %q: got %s, want %d", header, resp.Status, status)
		}
	}
}
