package image

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

func (r *remote) errNoURL() error {
	// The error of url.Parse repeats the URL, and with it what may be secret.
	return invalid("open "+r.name, "write it as http://HOST/PATH", "this is not a URL")
}

func (r *remote) failure(code transfer.Code, hint string, err error) error {
	return &transfer.Error{Op: "fetch " + r.name, Code: code, Hint: hint, Err: err}
}

// callError makes an error of a request, or of reading its answer, one for users.
func (a *answer) callError(err error) error {
	var own *transfer.Error
	if cause := context.Cause(a.ctx); errors.As(cause, &own) {
		err = cause
	} else if cause != nil {
		return cause
	}
	// It repeats the URL, which may hold secrets.
	var call *url.Error
	if errors.As(err, &call) {
		err = call.Err
	}
	var cert *tls.CertificateVerificationError
	var op *net.OpError
	var slow net.Error
	switch r := a.remote; {
	case errors.As(err, &own):
		return r.failure(own.Code, own.Hint, own.Err)
	case errors.As(err, &cert):
		return r.failure(transfer.CodeUntrusted, "install the server's CA on this host, or fetch the image by hand", err)
	case errors.Is(err, http.ErrSchemeMismatch):
		return r.failure(transfer.CodeProtocol, "write http:// for a server without TLS", err)
	case errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect"):
		return r.failure(transfer.CodeUnreachable, "check the host's name, and the network and proxy of the host that runs the job", err)
	case errors.As(err, &slow) && slow.Timeout():
		return r.failure(transfer.CodeTimeout, "", err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		err = errors.New("the connection was cut")
	}
	return a.remote.failure(transfer.CodeNetwork, "", err)
}

// statusError is what a status that brings no image means.
func (a *answer) statusError() error {
	code, hint := transfer.CodeRefused, ""
	switch status := a.status; {
	case status == http.StatusRequestedRangeNotSatisfiable && a.header.Get("Content-Range") == "bytes */0":
		return errEmpty("open " + a.remote.name)
	case status == http.StatusNotFound, status == http.StatusGone:
		code, hint = transfer.CodeNotFound, "check the URL"
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		code, hint = transfer.CodeForbidden, "does the URL need a user and password, or has it expired?"
	case status == http.StatusTooManyRequests:
		code = transfer.CodeThrottled
	case status == http.StatusRequestTimeout, status == http.StatusGatewayTimeout:
		code = transfer.CodeTimeout
	case status >= 500:
		code = transfer.CodeServer
	case status < 400:
		code = transfer.CodeProtocol
	}
	return &transfer.Error{
		Op: "fetch " + a.remote.name, Code: code, Hint: hint, RetryAfter: transfer.ParseRetryAfter(a.header.Get("Retry-After"), time.Now()),
		Err: fmt.Errorf("the server answers %d %s", a.status, http.StatusText(a.status)),
	}
}
