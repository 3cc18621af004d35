package image

import (
	"bytes"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

const token = "Bearer s3cret"

// tlsServer serves over TLS, as the transport that tests use trusts it.
func tlsServer(t *testing.T, h http.HandlerFunc) (s *httptest.Server, host string) {
	t.Helper()
	s = httptest.NewTLSServer(h)
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return s, u.Host
}

// authorizations records the header of each request, by the server's name.
type authorizations struct {
	mu   sync.Mutex
	seen map[string][]string
}

func (a *authorizations) record(name string, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		if a.seen == nil {
			a.seen = make(map[string][]string)
		}
		if got := r.Header.Get("Authorization"); !slices.Contains(a.seen[name], got) {
			a.seen[name] = append(a.seen[name], got)
		}
		a.mu.Unlock()
		next(w, r)
	}
}

func private(data []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != token {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		content(`"1"`, data)(w, r)
	}
}

func credential(hosts ...string) []Credential {
	return []Credential{{Hosts: hosts, Header: func() (http.Header, error) {
		return http.Header{"Authorization": {token}}, nil
	}}}
}

// TestCredentialsGoToTheirHostsAlone: the server that the credentials name gets them with each
// request; the one that it redirects to does not, unless they name it too.
func TestCredentialsGoToTheirHostsAlone(t *testing.T) {
	data := bytes.Repeat([]byte("private "), 4096)
	for name, tc := range map[string]struct {
		target http.HandlerFunc
		hosts  func(origin, target string) []string
		want   map[string][]string // by server
	}{
		"the origin's host": {
			content(`"1"`, data), func(string, string) []string { return []string{"127.0.0.1"} },
			map[string][]string{"origin": {token}, "target": {""}},
		},
		"the origin's host and port": {
			content(`"1"`, data), func(origin, _ string) []string { return []string{origin} },
			map[string][]string{"origin": {token}, "target": {""}},
		},
		"both": {
			private(data), func(origin, target string) []string { return []string{origin, target} },
			map[string][]string{"origin": {token}, "target": {token}},
		},
		"the target": {
			private(data), func(_, target string) []string { return []string{target} },
			map[string][]string{"origin": {""}, "target": {token}},
		},
		"another host": {
			content(`"1"`, data),
			func(string, string) []string { return []string{"localhost", "127.0.0.1:443", "0.0.1"} },
			map[string][]string{"origin": {""}, "target": {""}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var seen authorizations
			target, targetHost := tlsServer(t, seen.record("target", tc.target))
			origin, originHost := tlsServer(t, seen.record("origin", func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, target.URL+"/mirror.img", http.StatusFound)
			}))
			hosts := tc.hosts(originHost, targetHost)
			opts := Options{Credentials: credential(hosts...), transport: origin.Client().Transport}
			src, err := Open(t.Context(), origin.URL+"/x.img", opts)
			if err != nil {
				t.Fatal(err)
			}
			defer closed(t, src)
			if got, err := drain(t, src); err != nil || !bytes.Equal(got, data) {
				t.Errorf("got %d bytes, %v; want %d", len(got), err, len(data))
			}
			if !maps.EqualFunc(seen.seen, tc.want, slices.Equal) {
				t.Errorf("got the headers %q, want %q", seen.seen, tc.want)
			}
		})
	}
}

// TestCredentialsNeedTLS: over plain HTTP only this host gets them.
func TestCredentialsNeedTLS(t *testing.T) {
	for address, want := range map[string]bool{
		"https://images.example.com/x":      true,
		"https://IMAGES.example.com:443/x":  true,
		"https://images.example.com:8443/x": true, // the port of the image's URL
		"https://images.example.com:9443/x": false,
		"http://images.example.com/x":       false,
		"http://images.example.com:443/x":   false,
		"https://example.com/x":             false,
		"https://images.example.com.evil/x": false,
		"https://evil/images.example.com":   false,
		"https://images.example.com@evil/x": false,
		"http://127.0.0.1:8000/x":           true,
		"http://[::1]:8000/x":               true,
		"http://127.0.0.1:8001/x":           false,
	} {
		a := &authorization{origin: &url.URL{Scheme: "https", Host: "images.example.com:8443"}}
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		got := a.allowed(Credential{Hosts: []string{"images.example.com", "127.0.0.1:8000", "[::1]:8000"}}, u)
		if got != want {
			t.Errorf("%s: got %t, want %t", address, got, want)
		}
	}
}

// TestSecretsAreNotInErrors: neither of a refused request, nor of one that could not be made.
func TestSecretsAreNotInErrors(t *testing.T) {
	s, host := tlsServer(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	opts := Options{Credentials: credential(host), transport: s.Client().Transport}
	_, err := Open(t.Context(), s.URL+"/x.img", opts)
	expect(t, err, transfer.CodeForbidden, "url_credentials", "--header-env")
	closedServer := s.URL
	s.Close()
	_, other := Open(t.Context(), closedServer+"/x.img", opts)
	opts.Credentials[0].Header = func() (http.Header, error) {
		return nil, transfer.Errorf(transfer.CodeInvalid, "export TOKEN", "$TOKEN is not set")
	}
	_, unset := Open(t.Context(), closedServer+"/x.img", opts)
	expect(t, unset, transfer.CodeInvalid, "export TOKEN")
	if text := errors.Join(err, other, unset).Error(); strings.Contains(text, "s3cret") {
		t.Errorf("got %q, want no secret in it", text)
	}
}
