package main

import (
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/transferd/transferd/internal/config"
	"github.com/transferd/transferd/internal/image"
	"github.com/transferd/transferd/internal/transfer"
)

// headerFlags are the headers for the server of a URL. They stay in this process: the queue stores
// jobs in the clear.
type headerFlags struct {
	values []string // NAME: VALUE
	env    []string // NAME=VARIABLE
}

func (h *headerFlags) add(flags *pflag.FlagSet) {
	flags.StringArrayVar(&h.values, "header", nil,
		"`header` for the server of a URL, as NAME: VALUE, with --local (may be repeated); other users of the host "+
			"see it")
	flags.StringArrayVar(&h.env, "header-env", nil,
		"`header` for the server of a URL, as NAME=VARIABLE, with --local (may be repeated)")
}

func (h *headerFlags) given() bool { return len(h.values)+len(h.env) > 0 }

// check refuses headers that could not be sent: only a job in this process has them, and only the
// source's server gets them, over TLS.
func (h *headerFlags) check(source transfer.Ref, local bool) error {
	if !h.given() {
		return nil
	}
	if !local {
		return transfer.Errorf(transfer.CodeInvalid,
			"add --local, or add the header to url_credentials in the config of the hosts that run the job",
			"--header and --header-env are for jobs with --local: the queue stores jobs in the clear")
	}
	u, err := url.Parse(source.Path)
	switch {
	case !source.IsURL() || err != nil:
		return transfer.Errorf(transfer.CodeInvalid, "leave them out, or give the URL of an image",
			"--header and --header-env are for a source behind a URL")
	case u.Scheme != "https" && !image.IsLoopback(u.Hostname()):
		return transfer.Errorf(transfer.CodeInvalid, "write https://",
			"headers of --header and --header-env are sent over https alone, and %s is not", source.Redacted())
	}
	_, err = h.header()
	return err
}

// header is what the flags say.
func (h *headerFlags) header() (http.Header, error) {
	header := make(http.Header)
	for _, text := range h.values {
		name, value, ok := strings.Cut(text, ":")
		if !ok {
			return nil, transfer.Errorf(transfer.CodeInvalid, "write NAME: VALUE", "--header has no colon")
		}
		if err := addHeader(header, "--header", name, strings.TrimSpace(value)); err != nil {
			return nil, err
		}
	}
	for _, text := range h.env {
		at := strings.IndexAny(text, "=:")
		if at < 0 {
			return nil, transfer.Errorf(transfer.CodeInvalid, "write NAME=VARIABLE", "--header-env has no equals sign")
		}
		name, value := text[:at], os.Getenv(strings.TrimSpace(text[at+1:]))
		if value == "" {
			return nil, transfer.Errorf(transfer.CodeInvalid,
				"write the name of the variable, not its value, and export it",
				"--header-env: the variable of header %s is not set", name)
		}
		if err := addHeader(header, "--header-env", name, value); err != nil {
			return nil, err
		}
	}
	return header, nil
}

func addHeader(header http.Header, flag, name, value string) error {
	if err := config.CheckHeader(name, value); err != nil {
		return transfer.Errorf(transfer.CodeOf(err), hintOf(err), "%s: %w", flag, err)
	}
	header.Add(name, value)
	return nil
}

// credentials are those for the source's server; nil: the flags have none.
func (h *headerFlags) credentials(source transfer.Ref) []image.Credential {
	if !h.given() {
		return nil
	}
	u, err := url.Parse(source.Path)
	if err != nil {
		return nil // check refuses it
	}
	host := u.Hostname()
	if u.Port() != "" {
		host = net.JoinHostPort(host, u.Port())
	}
	return []image.Credential{{Hosts: []string{host}, Header: h.header}}
}
