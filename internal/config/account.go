package config

import (
	"net"
	"net/netip"
	"net/url"
	"path"
	"strings"
)

// Account is what the endpoint is, whatever it is called: its URL in one of the forms that lead to
// the same place (RFC 3986, 6.2: scheme and host in lower case, no default port, no slash at the
// end), and who logs in. Two entries of a config, or of two hosts' configs, with one Account are
// one place. What only DNS knows to be one host has several.
func (e *Endpoint) Account() string {
	u, err := url.Parse(e.URL)
	if err != nil {
		return e.URL + " " + e.User // the config refuses it
	}
	scheme, host, port := strings.ToLower(u.Scheme), strings.TrimSuffix(strings.ToLower(u.Hostname()), "."), u.Port()
	if ip, err := netip.ParseAddr(host); err == nil {
		host = ip.Unmap().String()
	}
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[scheme]
	}
	folder := strings.TrimSuffix(path.Clean("/"+u.Path), "/")
	// A user is an e-mail address; no two users have addresses that differ only in case.
	return scheme + "://" + net.JoinHostPort(host, strings.TrimLeft(port, "0")) + folder + " " + strings.ToLower(e.User)
}
