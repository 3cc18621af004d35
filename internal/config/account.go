package config

import (
	"net"
	"net/netip"
	"net/url"
	"path"
	"strings"
)

// Account identifies the endpoint, independent of its name in the config: its normalized URL (RFC
// 3986, 6.2: scheme and host in lower case, no default port, no slash at the end) and its user. Two
// entries of a config, or of the configs of two hosts, with the same Account are the same endpoint.
// Two host names of one server give two Accounts.
func (e *Endpoint) Account() string {
	u, err := url.Parse(e.URL)
	if err != nil {
		return e.URL + " " + e.User // Load refuses such a URL
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
