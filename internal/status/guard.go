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

// Guard keeps the face from those whom it is not for. It is safe for concurrent use.
type Guard struct {
	Token string   // required of all requests but /healthz; empty: not required
	Hosts []string // names that the face is called by, besides localhost and addresses
}

// Wrap lets only those calls through to h that may come.
func (g Guard) Wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := g.check(r); err != nil {
			if transfer.CodeOf(err) == transfer.CodeUnauthorized {
				w.Header().Set("WWW-Authenticate", "Bearer")
			}
			answer(w, nil, err)
			return
		}
		h.ServeHTTP(w, r)
	})
}

func (g Guard) check(r *http.Request) error {
	switch {
	case !g.calledRightly(r.Host):
		// A page in a browser may have its own name lead here (DNS rebinding); it cannot have an address or our name do so.
		return transfer.Errorf(transfer.CodeForbidden, "add it to `hosts:` under `http:` in the config", "this is not %q", r.Host)
	case fromElsewhere(r):
		return transfer.Errorf(transfer.CodeForbidden, "", "pages of other sites may not ask")
	case r.URL.Path != "/healthz" && !g.knows(r.Header.Get("Authorization")):
		return transfer.Errorf(transfer.CodeUnauthorized, "send Authorization: Bearer TOKEN", "the token is missing or wrong")
	}
	return nil
}

func (g Guard) calledRightly(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if net.ParseIP(strings.Trim(host, "[]")) != nil || strings.EqualFold(host, "localhost") {
		return true
	}
	return slices.ContainsFunc(g.Hosts, func(h string) bool { return strings.EqualFold(h, host) })
}

// fromElsewhere reports whether a browser says that a page of another site asks (RFC 6454; Fetch Metadata).
func fromElsewhere(r *http.Request) bool {
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

// knows compares the token in a time that tells nothing of it.
func (g Guard) knows(authorization string) bool {
	if g.Token == "" {
		return true
	}
	scheme, token, _ := strings.Cut(authorization, " ")
	got, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(g.Token))
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(got[:], want[:]) == 1
}
