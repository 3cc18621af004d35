package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// Meaning is what a failure means to a user. Its code says whether and how the call is retried
// (transfer.Code.Retry).
type Meaning struct {
	Code transfer.Code
	Hint string // what the user can do; may be empty
}

// statuses are the meanings of statuses that differ from those of their class. A client's own row
// takes precedence.
var statuses = map[int]Meaning{
	http.StatusUnauthorized:    {transfer.CodeUnauthorized, "check the user and password"},
	http.StatusForbidden:       {transfer.CodeRefused, "the account may not do this"},
	http.StatusNotFound:        {transfer.CodeNotFound, "check the address"},
	http.StatusRequestTimeout:  {transfer.CodeTimeout, ""},
	http.StatusTooEarly:        {transfer.CodeServer, ""}, // the request may be sent again (RFC 8470, 5.2)
	http.StatusTooManyRequests: {transfer.CodeThrottled, ""},
	http.StatusGatewayTimeout:  {transfer.CodeTimeout, ""},
}

// Meanings are a client's additions to the common tables. They do not change, so they are safe for
// concurrent use.
type Meanings struct {
	Statuses   map[int]Meaning          // rows that replace those of the common table
	Unexpected string                   // the hint of a status that is neither a success nor an error, such as 304
	Failures   map[transfer.Code]string // the hint of a call without a complete response, by its code
}

// Status is the meaning of a status that the client does not take for a success.
func (m *Meanings) Status(status int) Meaning {
	if v, ok := m.Statuses[status]; ok {
		return v
	}
	if v, ok := statuses[status]; ok {
		return v
	}
	switch {
	case status >= 500:
		return Meaning{Code: transfer.CodeServer}
	case status >= 400:
		return Meaning{Code: transfer.CodeRefused}
	}
	return Meaning{transfer.CodeProtocol, m.Unexpected}
}

// ResponseError is the error of a response with this meaning; err says what the server responded.
// Retry-After comes from header. If it is a date, the server's clock counts, which the header Date
// shows (RFC 9110, 6.6.1).
func (m Meaning) ResponseError(header http.Header, err error) *transfer.Error {
	now := time.Now()
	if date, err := http.ParseTime(header.Get("Date")); err == nil {
		now = date
	}
	return &transfer.Error{
		Code: m.Code, Hint: m.Hint, RetryAfter: transfer.ParseRetryAfter(header.Get("Retry-After"), now), Err: err,
	}
}

// Failure is the error of a call without a complete response. err is that of RoundTrip, or of
// reading the response's body; ctx is that of the call. Failure returns a *transfer.Error without
// Op, or the cause of ctx's end. If err's chain has a *transfer.Error already, Failure returns err.
func (m *Meanings) Failure(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	var own *transfer.Error
	switch {
	case errors.As(cause, &own):
		return own
	case errors.Is(err, errNoProgress): // also if a decompressor above has wrapped it
		return errStalled()
	case errors.As(err, &own):
		return err
	case cause != nil:
		return cause
	}
	err = WithoutURL(err)
	code := failureCode(err)
	if withoutHandshake(err) {
		err = transfer.NotCarriedOut(err)
	}
	if code == transfer.CodeNetwork && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) {
		err = errors.New("the connection was cut") // without io.EOF in the chain, which callers take for an image's end
	}
	return &transfer.Error{Code: code, Hint: m.Failures[code], Err: err}
}

func failureCode(err error) transfer.Code {
	var (
		cert   *tls.CertificateVerificationError
		record tls.RecordHeaderError
		dns    *net.DNSError
		op     *net.OpError
		slow   net.Error
	)
	switch {
	case errors.As(err, &cert):
		return transfer.CodeUntrusted
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch): // an http.Client returns the second
		return transfer.CodeProtocol
	case errors.As(err, &dns), errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect"):
		return transfer.CodeUnreachable
	case errors.As(err, &slow) && slow.Timeout():
		return transfer.CodeTimeout
	}
	return transfer.CodeNetwork
}

// withoutHandshake reports whether err says that the other side does not speak TLS, so that no
// request was sent.
func withoutHandshake(err error) bool {
	var record tls.RecordHeaderError
	return errors.Is(err, http.ErrSchemeMismatch) ||
		errors.As(err, &record) && record.Conn != nil // nil: after a handshake
}

// WithoutURL drops the URL that net/http puts before its errors: it may hold secrets.
func WithoutURL(err error) error {
	var call *url.Error
	if errors.As(err, &call) {
		return call.Err
	}
	return err
}
