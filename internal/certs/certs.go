// Package certs reads the certificates to trust, and those of a server, from files. Certificates
// are renewed while a program runs for months, so the package reads a file again when it has
// changed.
package certs

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"sync"
	"syscall"

	"github.com/transferd/transferd/internal/transfer"
)

// Trust holds the certificates that verify the other side of a connection: the system's and those
// of a file. It is safe for concurrent use.
type Trust struct {
	file string // empty: none
	mu   sync.Mutex
	seen version
	pool *x509.CertPool
}

// NewTrust reads the file, PEM; an empty name means the system's certificates alone. Errors have
// CodeInvalid.
func NewTrust(file string) (*Trust, error) {
	t := &Trust{file: file}
	if file == "" {
		return t, nil
	}
	if err := t.read(); err != nil {
		return nil, err
	}
	return t, nil
}

// Roots is the pool of the current certificates. It stays the same until the file changes. Without
// a file it is nil, for which crypto/tls uses the system's. While the file is missing or has no
// certificate, Roots stays the last pool.
func (t *Trust) Roots() *x509.CertPool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.file != "" && versionOf(t.file) != t.seen {
		_ = t.read()
	}
	return t.pool
}

func (t *Trust) read() error {
	seen := versionOf(t.file) // before the read: a change meanwhile causes another read
	pem, err := os.ReadFile(t.file)
	if err != nil {
		return transfer.Errorf(transfer.CodeInvalid,
			"give the path of a file of certificates in PEM", "read certificates to trust: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return transfer.Errorf(transfer.CodeInvalid,
			"give a file of certificates in PEM", "%s has no certificate in it", t.file)
	}
	t.pool, t.seen = pool, seen
	return nil
}

// Pair is a server's certificate and its key. It is safe for concurrent use.
type Pair struct {
	certFile, keyFile string
	mu                sync.Mutex
	seen              [2]version
	cert              *tls.Certificate
}

// NewPair reads both files, PEM. Errors have CodeInvalid.
func NewPair(certFile, keyFile string) (*Pair, error) {
	p := &Pair{certFile: certFile, keyFile: keyFile}
	if err := p.read(); err != nil {
		return nil, err
	}
	return p, nil
}

// GetCertificate is for tls.Config, which calls it for each connection. While the two files do not
// belong together, because only one is renewed yet, it returns the last pair.
func (p *Pair) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.versions() != p.seen {
		_ = p.read()
	}
	return p.cert, nil
}

func (p *Pair) versions() [2]version { return [2]version{versionOf(p.certFile), versionOf(p.keyFile)} }

func (p *Pair) read() error {
	seen := p.versions()
	cert, err := tls.LoadX509KeyPair(p.certFile, p.keyFile)
	if err != nil {
		return transfer.Errorf(transfer.CodeInvalid,
			"give the paths of PEM files that belong together", "read certificate and key: %w", err)
	}
	p.cert, p.seen = &cert, seen
	return nil
}

// version changes when a file, or the target of a link, changes. The zero version means that there
// is no file.
type version struct {
	device, inode  uint64
	size           int64
	mtime, changed int64 // nanoseconds
}

func versionOf(path string) version {
	info, err := os.Stat(path)
	if err != nil {
		return version{}
	}
	st := info.Sys().(*syscall.Stat_t)
	return version{st.Dev, st.Ino, st.Size, st.Mtim.Nano(), st.Ctim.Nano()}
}
