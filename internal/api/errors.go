package api

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/transferd/transferd/internal/transfer"
)

// maxMessage bounds what of an endpoint's words is shown, in bytes.
const maxMessage = 300

type verdict struct {
	code transfer.Code
	hint string
}

// statuses is what each status means for a transfer (manual 5).
var statuses = map[int]verdict{
	http.StatusBadRequest:            {transfer.CodeRefused, "the endpoint says what it did not like"},
	http.StatusUnauthorized:          {transfer.CodeUnauthorized, "check the endpoint's user and password; transferctl endpoints check tries them"},
	http.StatusForbidden:             {transfer.CodeRefused, "the account may not do this"},
	http.StatusNotFound:              {transfer.CodeNotFound, "transferctl drives list shows the drives there are"},
	http.StatusConflict:              {transfer.CodeConflict, "the drive is busy: being cloned, or in use by a running server"},
	http.StatusRequestTimeout:        {transfer.CodeTimeout, ""},
	http.StatusTooManyRequests:       {transfer.CodeThrottled, "lower the endpoint's max_in_flight"},
	http.StatusServiceUnavailable:    {transfer.CodeServer, ""},
	http.StatusGatewayTimeout:        {transfer.CodeTimeout, ""},
	http.StatusInsufficientStorage:   {transfer.CodeRefused, "the endpoint has no room left"},
	http.StatusRequestEntityTooLarge: {transfer.CodeRefused, "try a smaller --chunk-size"},
}

func verdictOf(status int, message string) verdict {
	// A 400 that says so means the same as 404 or 409 (manual 7.5, 7.6 against 5).
	if status == http.StatusBadRequest {
		switch {
		case strings.Contains(message, "could not be found"):
			status = http.StatusNotFound
		case strings.Contains(message, "currently in use"):
			status = http.StatusConflict
		}
	}
	if v, ok := statuses[status]; ok {
		return v
	}
	switch {
	case status >= 500:
		return verdict{transfer.CodeServer, ""}
	case status >= 400:
		return verdict{transfer.CodeRefused, ""}
	}
	return verdict{transfer.CodeProtocol, notAPI}
}

const notAPI = "is this an endpoint of API 1.0? check its url in the config"

// statusError is what an answer that is no success becomes.
func statusError(resp *http.Response, body []byte) error {
	message := clean(body)
	v := verdictOf(resp.StatusCode, message)
	if looksForeign(body) {
		message = "a page that is not API 1.0's"
		// One that says "later" may be from a proxy on the way.
		if v.code != transfer.CodeUnauthorized && v.code.Retry() == transfer.RetryNever {
			v = verdict{transfer.CodeProtocol, notAPI}
		}
	}
	if to := resp.Header.Get("Location"); to != "" && resp.StatusCode/100 == 3 {
		v, message = verdict{transfer.CodeProtocol, "redirects are not followed, so that credentials go nowhere else; set the url that is meant"}, "redirected"
	}
	if message != "" {
		message = ": " + message
	}
	return &transfer.Error{
		Code: v.code, Hint: v.hint, RetryAfter: transfer.ParseRetryAfter(resp.Header.Get("Retry-After"), time.Now()),
		Err: fmt.Errorf("the endpoint answered %d %s%s", resp.StatusCode, http.StatusText(resp.StatusCode), message),
	}
}

// clean makes an endpoint's words fit for a terminal: one line, no control characters, not too long, and without the
// `errors:` before each (manual 5).
func clean(body []byte) string {
	s := strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(string(body[:min(len(body), 4*maxMessage)]), ""))
	s = strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "errors:", "")
	if len(s) > maxMessage {
		s = strings.ToValidUTF8(s[:maxMessage], "") + "…"
	}
	return s
}

// looksForeign reports whether text is HTML or JSON, which API 1.0 never answers.
func looksForeign(text []byte) bool {
	s := strings.TrimLeft(string(text[:min(len(text), 64)]), " \t\r\n\ufeff")
	return strings.HasPrefix(s, "<") || strings.HasPrefix(s, "{") || strings.HasPrefix(s, "[")
}

// transportError says what kind of failure kept an answer from coming. cause is why the request's context ended, if
// it did.
func transportError(cause, err error) error {
	var e *transfer.Error
	if errors.As(cause, &e) {
		return e
	}
	if errors.As(err, &e) {
		return err
	}
	if cause != nil {
		return cause
	}
	var (
		dial      *net.OpError
		dns       *net.DNSError
		unknownCA x509.UnknownAuthorityError
		badHost   x509.HostnameError
		badCert   x509.CertificateInvalidError
		verify    *tls.CertificateVerificationError
		record    tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &unknownCA), errors.As(err, &badHost), errors.As(err, &badCert), errors.As(err, &verify):
		return transfer.Errorf(transfer.CodeUntrusted, "for a private authority set the endpoint's ca_file", "%w", err)
	case errors.As(err, &record):
		return transfer.Errorf(transfer.CodeProtocol, "does the endpoint speak https at this port?", "%w", err)
	case errors.As(err, &dns), errors.As(err, &dial) && dial.Op == "dial":
		return transfer.Errorf(transfer.CodeUnreachable, "check the endpoint's url and the network", "%w", err)
	case errors.Is(err, context.DeadlineExceeded):
		return transfer.Errorf(transfer.CodeTimeout, "", "%w", err)
	}
	return transfer.Errorf(transfer.CodeNetwork, "", "%w", err)
}
