package image

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Credential has headers for the servers of private images, such as a token.
type Credential struct {
	// Hosts are the only servers that get the headers: names or IP addresses. One with a port gets
	// them on that port, one without on 443 and on the port that the URL of the image has.
	Hosts []string
	// Header fetches the headers. Many goroutines may call it at once. Its errors are for users.
	Header func() (http.Header, error)
}

// authorization adds the credentials to the requests for one URL. It decides for each request by
// itself, so a redirect to another server leads to a request without them.
type authorization struct {
	next        http.RoundTripper
	origin      *url.URL // of the image
	credentials []Credential
}

var _ http.RoundTripper = (*authorization)(nil)

// RoundTrip implements http.RoundTripper.
func (a *authorization) RoundTrip(req *http.Request) (*http.Response, error) {
	for _, c := range a.credentials {
		if !a.allowed(c, req.URL) {
			continue
		}
		header, err := c.Header()
		if err != nil {
			return nil, err
		}
		req = req.Clone(req.Context())
		for name, values := range header {
			req.Header[name] = slices.Clone(values)
		}
	}
	return a.next.RoundTrip(req)
}

// allowed reports whether a request to u may have the headers of c: they go over TLS alone, or to
// this host.
func (a *authorization) allowed(c Credential, u *url.URL) bool {
	if u.Scheme != "https" && !IsLoopback(u.Hostname()) {
		return false
	}
	return slices.ContainsFunc(c.Hosts, func(entry string) bool {
		host, port, err := net.SplitHostPort(entry)
		if err != nil {
			host = strings.Trim(entry, "[]")
			ofOrigin := strings.EqualFold(a.origin.Hostname(), host) && portOf(a.origin) == portOf(u)
			return strings.EqualFold(host, u.Hostname()) && (ofOrigin || portOf(u) == "443")
		}
		return strings.EqualFold(host, u.Hostname()) && port == portOf(u)
	})
}

// portOf is the port that a request to u goes to.
func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

// IsLoopback reports whether a host, as a name or an IP address, is this one: nothing that is sent
// to it crosses a network.
func IsLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
