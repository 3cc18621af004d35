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

// Meaning is what a failure is to a user. Whether and how it is retried follows from its code
// (transfer.Code.Retry).
type Meaning struct {
	Code transfer.Code
	Hint string // what the user can do; may be empty
}

// statuses is what a status means if it means more than its class, and the client has no row of its
// own for it.
var statuses = map[int]Meaning{
	http.StatusUnauthorized:    {transfer.CodeUnauthorized, "check the user and password"},
	http.StatusForbidden:       {transfer.CodeRefused, "the account may not do this"},
	http.StatusNotFound:        {transfer.CodeNotFound, "check the address"},
	http.StatusRequestTimeout:  {transfer.CodeTimeout, ""},
	http.StatusTooEarly:        {transfer.CodeServer, ""}, // once more, as any request (RFC 8470, 5.2)
	http.StatusTooManyRequests: {transfer.CodeThrottled, ""},
	http.StatusGatewayTimeout:  {transfer.CodeTimeout, ""},
}

// Meanings is a client's additions to the common tables. It is not changed once it is made, so it
// is safe for concurrent use.
type Meanings struct {
	Statuses   map[int]Meaning          // rows that replace those of the common table
	Unexpected string                   // the hint of a status that is neither a success nor an error, such as 304
	Failures   map[transfer.Code]string // the hint of a call that brought no whole answer, by its code
}

// Status is what a status means that is no success to the client.
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

// Answered is the error of an answer with this meaning. It takes Retry-After from header, a date by
// the clock of the other side, which says what time it is there (RFC 9110, 6.6.1); err says what it
// did.
func (m Meaning) Answered(header http.Header, err error) *transfer.Error {
	now := time.Now()
	if there, err := http.ParseTime(header.Get("Date")); err == nil {
		now = there
	}
	return &transfer.Error{
		Code: m.Code, Hint: m.Hint, RetryAfter: transfer.ParseRetryAfter(header.Get("Retry-After"), now), Err: err,
	}
}

// Failure is what kept a whole answer from coming: the error of a RoundTrip or of reading its body,
// with ctx of the call. It is a *transfer.Error without Op, or the cause for which ctx was ended.
// An error in err's chain that is a *transfer.Error already is left as it is.
func (m *Meanings) Failure(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	var own *transfer.Error
	switch {
	case errors.As(cause, &own):
		return own
	case errors.Is(err, errNoProgress): // also when a decompressor above has wrapped it as its own
		return standsStill()
	case errors.As(err, &own):
		return err
	case cause != nil:
		return cause
	}
	err = WithoutURL(err)
	code := failureCode(err)
	if code == transfer.CodeNetwork && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) {
		err = errors.New("the connection was cut") // and no io.EOF in the chain, which is the end of an image to others
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
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch): // an http.Client says the second for the first
		return transfer.CodeProtocol
	case errors.As(err, &dns), errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect"):
		return transfer.CodeUnreachable
	case errors.As(err, &slow) && slow.Timeout():
		return transfer.CodeTimeout
	}
	return transfer.CodeNetwork
}

// WithoutURL drops the URL that net/http puts before its errors: it may hold secrets.
func WithoutURL(err error) error {
	var call *url.Error
	if errors.As(err, &call) {
		return call.Err
	}
	return err
}
