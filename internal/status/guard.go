package status

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/transferd/transferd/internal/transfer"
)

// Guard refuses requests without the token, and those of pages of other sites in a browser. It is
// safe for concurrent use.
type Guard struct {
	Token string   // required of all requests but /healthz; empty: not required
	Hosts []string // names of this host, besides localhost and addresses
}

// Wrap returns a handler that passes to h the requests that the guard allows.
func (g Guard) Wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := g.check(r); err != nil {
			if transfer.CodeOf(err) == transfer.CodeUnauthorized {
				w.Header().Set("WWW-Authenticate", "Bearer")
			}
			respond(w, nil, err)
			return
		}
		h.ServeHTTP(w, r)
	})
}

func (g Guard) check(r *http.Request) error {
	switch {
	case !g.isHost(r.Host):
		// DNS rebinding: a site may point its own name at this host, but neither an address nor our
		// names.
		return transfer.Errorf(transfer.CodeForbidden, "add it to `hosts:` under `http:` in the config",
			"%q is not a name of this host", r.Host)
	case isCrossSite(r):
		return transfer.Errorf(transfer.CodeForbidden, "", "requests of other sites' pages are refused")
	case r.URL.Path != "/healthz" && !g.hasToken(r.Header.Get("Authorization")):
		return transfer.Errorf(transfer.CodeUnauthorized, "send Authorization: Bearer TOKEN",
			"the token is missing or wrong")
	}
	return nil
}

// isHost reports whether a Host header names this host.
func (g Guard) isHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if net.ParseIP(strings.Trim(host, "[]")) != nil || strings.EqualFold(host, "localhost") {
		return true
	}
	return slices.ContainsFunc(g.Hosts, func(h string) bool { return strings.EqualFold(h, host) })
}

// isCrossSite reports whether a browser sends the request for a page of another site (RFC 6454;
// Fetch Metadata).
func isCrossSite(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site == "cross-site" || site == "same-site" {
		return true
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	u, err := url.Parse(origin)
	return err != nil || !strings.EqualFold(u.Host, r.Host)
}

// hasToken compares the token in constant time.
func (g Guard) hasToken(authorization string) bool {
	if g.Token == "" {
		return true
	}
	scheme, token, _ := strings.Cut(authorization, " ")
	got, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(g.Token))
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(got[:], want[:]) == 1
}
