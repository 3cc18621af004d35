package config

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// URLCredential has the headers that private servers need to send an image.
type URLCredential struct {
	// Hosts are the only servers that get the headers: names or IP addresses, with a port or
	// without.
	Hosts []string `yaml:"hosts"`
	// HeaderEnv has, by the names of the headers, the environment variables with their values.
	HeaderEnv map[string]string `yaml:"header_env"`
}

// Header fetches the headers from the environment. Errors have CodeInvalid and never hold a value.
func (c *URLCredential) Header() (http.Header, error) {
	header := make(http.Header, len(c.HeaderEnv))
	for _, name := range slices.Sorted(maps.Keys(c.HeaderEnv)) {
		value, err := headerFromEnv(name, c.HeaderEnv[name])
		if err != nil {
			return nil, err
		}
		header.Set(name, value)
	}
	return header, nil
}

// headerFromEnv is the value of a header that an environment variable has.
func headerFromEnv(name, variable string) (string, error) {
	value, ok := os.LookupEnv(variable)
	if !ok || value == "" {
		return "", invalid("export "+variable+" where the job runs", "header %s: $%s is not set", name, variable)
	}
	return value, CheckHeader(name, value)
}

var (
	headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$") // RFC 9110, 5.1
	// ownHeaders are set by the program.
	ownHeaders = []string{
		"Accept-Encoding", "Connection", "Content-Length", "Expect", "Host", "If-Match", "If-Modified-Since",
		"If-None-Match", "If-Range", "If-Unmodified-Since", "Range", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
	}
)

// CheckHeader refuses a header that requests for images cannot have. Its errors have CodeInvalid
// and do not show the value.
func CheckHeader(name, value string) error {
	switch {
	case !headerName.MatchString(name):
		return invalid("write the name of a header, such as Authorization", "%q is not the name of a header", name)
	case slices.Contains(ownHeaders, http.CanonicalHeaderKey(name)):
		return invalid("leave it out", "header %s is set by transferd itself", name)
	case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
		return invalid("put it on one line",
			"the value of header %s has a line break or another control character", name)
	}
	return nil
}

// checkURLCredentials checks what does not depend on the environment.
func (c *Config) checkURLCredentials() error {
	owner := make(map[string]string) // of hosts
	for _, name := range slices.Sorted(maps.Keys(c.URLCredentials)) {
		cred := c.URLCredentials[name]
		if err := cred.check(); err != nil {
			return fmt.Errorf("url_credentials: %s: %w", name, err)
		}
		for _, host := range cred.Hosts {
			host = strings.ToLower(host)
			if other, ok := owner[host]; ok {
				return invalid("name each host once",
					"url_credentials: %s and %s both name the host %s", other, name, host)
			}
			owner[host] = name
		}
	}
	return nil
}

func (c *URLCredential) check() error {
	if len(c.Hosts) == 0 {
		return invalid("add hosts: [images.example.com], the only servers that get the headers", "hosts is missing")
	}
	if len(c.HeaderEnv) == 0 {
		return invalid("add header_env: {Authorization: VARIABLE}", "header_env is missing")
	}
	for _, host := range c.Hosts {
		if !validHost(host) {
			return invalid("write a name or an IP address, such as images.example.com or images.example.com:8443",
				"hosts: %q is not a host", host)
		}
	}
	for name, variable := range c.HeaderEnv {
		if err := CheckHeader(name, ""); err != nil {
			return err
		}
		if variable == "" || strings.ContainsAny(variable, "= \t\x00") {
			return invalid("write the name of the variable that has the value, not the value",
				"header_env: the value of %s is not the name of an environment variable", name)
		}
	}
	return nil
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$`)

// validHost reports whether s is a name or an IP address, with a port or without. IPv6 addresses
// have brackets.
func validHost(s string) bool {
	host := s
	if name, port, err := net.SplitHostPort(s); err == nil {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return false
		}
		host = name
		if strings.Contains(name, ":") {
			host = "[" + name + "]"
		}
	}
	if inside, ok := strings.CutPrefix(host, "["); ok {
		inside, ok = strings.CutSuffix(inside, "]")
		return ok && net.ParseIP(inside) != nil
	}
	return hostName.MatchString(host)
}
