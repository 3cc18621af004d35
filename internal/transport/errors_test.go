package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

var meanings = &Meanings{
	Statuses:   map[int]Meaning{404: {transfer.CodeNotFound, "own"}, 409: {transfer.CodeConflict, "own"}},
	Unexpected: "unexpected",
	Failures:   map[transfer.Code]string{transfer.CodeNetwork: "network", transfer.CodeUnreachable: "unreachable"},
}

// TestClientsTableComesFirst: a status's meaning comes from the client's table, from the common
// table, or from its class, in this order.
func TestClientsTableComesFirst(t *testing.T) {
	refused, server := Meaning{transfer.CodeRefused, ""}, Meaning{transfer.CodeServer, ""}
	timeout := Meaning{transfer.CodeTimeout, ""}
	unexpected := Meaning{transfer.CodeProtocol, "unexpected"}
	for status, want := range map[int]Meaning{
		100: unexpected, 201: unexpected, 304: unexpected,
		400: refused, 401: {transfer.CodeUnauthorized, "check the user and password"},
		403: {transfer.CodeRefused, "the account may not do this"}, 404: {transfer.CodeNotFound, "own"},
		405: refused, 408: timeout, 409: {transfer.CodeConflict, "own"}, 410: refused,
		425: server, 429: {transfer.CodeThrottled, ""}, 499: refused,
		500: server, 503: server, 504: timeout, 599: server,
	} {
		if got := meanings.Status(status); got != want {
			t.Errorf("%d is %+v, want %+v", status, got, want)
		}
	}
}

func TestResponseErrorTakesRetryAfter(t *testing.T) {
	e := Meaning{transfer.CodeThrottled, "slower"}.ResponseError(http.Header{"Retry-After": {"9"}}, io.EOF)
	meaning := Meaning{e.Code, e.Hint}
	want := Meaning{transfer.CodeThrottled, "slower"}
	if meaning != want || e.RetryAfter != 9*time.Second || !errors.Is(e, io.EOF) {
		t.Errorf("got %+v, want throttled, slower, 9s and io.EOF", e)
	}
}

func TestEachFailureHasACode(t *testing.T) {
	ended, end := context.WithCancel(t.Context())
	end()
	own := transfer.Errorf(transfer.CodeProtocol, "", "too long")
	fenced, fence := context.WithCancelCause(t.Context())
	fence(transfer.Errorf(transfer.CodeFenced, "", "another worker has the job"))
	ctx, late := t.Context(), os.ErrDeadlineExceeded
	dns := &net.DNSError{Err: "no such host", Name: "h", IsNotFound: true}
	const stalled = "the network or the server has stalled: check both"
	for name, tc := range map[string]struct {
		ctx  context.Context
		err  error
		code transfer.Code
		hint string
	}{
		"certificate":    {ctx, &tls.CertificateVerificationError{Err: late}, transfer.CodeUntrusted, ""},
		"no TLS":         {ctx, tls.RecordHeaderError{Msg: "no handshake"}, transfer.CodeProtocol, ""},
		"http.Client":    {ctx, &url.Error{URL: "secret", Err: http.ErrSchemeMismatch}, transfer.CodeProtocol, ""},
		"no name":        {ctx, &net.OpError{Op: "dial", Err: dns}, transfer.CodeUnreachable, "unreachable"},
		"dial timeout":   {ctx, &net.OpError{Op: "dial", Err: late}, transfer.CodeUnreachable, "unreachable"},
		"proxy":          {ctx, &net.OpError{Op: "proxyconnect", Err: io.EOF}, transfer.CodeUnreachable, "unreachable"},
		"timeout":        {ctx, &net.OpError{Op: "read", Err: late}, transfer.CodeTimeout, ""},
		"cut":            {ctx, fmt.Errorf("read: %w", io.ErrUnexpectedEOF), transfer.CodeNetwork, "network"},
		"anything":       {ctx, io.ErrNoProgress, transfer.CodeNetwork, "network"},
		"own":            {ctx, fmt.Errorf("read: %w", own), transfer.CodeProtocol, ""},
		"own, cancelled": {ended, own, transfer.CodeProtocol, ""},
		"cancelled":      {ended, io.ErrUnexpectedEOF, transfer.CodeCanceled, ""},
		"fenced":         {fenced, own, transfer.CodeFenced, ""},
		"stalled":        {ctx, errStalled(), transfer.CodeTimeout, stalled},
		"stalled in gzip": {
			ctx, transfer.Errorf(transfer.CodeNetwork, "", "inflate: %w", errStalled()), transfer.CodeTimeout, stalled,
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := meanings.Failure(tc.ctx, tc.err)
			var e *transfer.Error
			if code := transfer.CodeOf(err); code != tc.code || errors.As(err, &e) && e.Hint != tc.hint {
				t.Errorf("got %v (%s, %+v), want %s with %q", err, code, e, tc.code, tc.hint)
			}
			if errors.Is(err, io.EOF) && tc.code == transfer.CodeNetwork || strings.Contains(err.Error(), "secret") {
				t.Errorf("got %v, want neither io.EOF nor the URL in it", err)
			}
		})
	}
}

// TestFailuresOfConnectionsHaveCodes classifies errors of net/http, with and without an
// http.Client.
func TestFailuresOfConnectionsHaveCodes(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = nil
	secure.StartTLS()
	t.Cleanup(secure.Close)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	broken := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(broken.Close)
	pool, err := New(Config{MaxIdle: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.CloseIdleConnections)
	client := http.Client{Transport: pool}
	for url, want := range map[string]transfer.Code{
		gone.URL: transfer.CodeUnreachable, secure.URL: transfer.CodeUntrusted, broken.URL: transfer.CodeNetwork,
		strings.Replace(plain.URL, "http:", "https:", 1): transfer.CodeProtocol,
	} {
		for _, call := range []func(*http.Request) (*http.Response, error){pool.RoundTrip, client.Do} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := call(req)
			if err == nil {
				_ = resp.Body.Close()
				t.Fatalf("%s: got status %s, want an error", url, resp.Status)
			}
			if err = meanings.Failure(t.Context(), err); transfer.CodeOf(err) != want {
				t.Errorf("%s: got %v (%s), want %s", url, err, transfer.CodeOf(err), want)
			}
		}
	}
}

// TestRetryAfterDateIsByTheServersClock: a date in Retry-After counts by the server's clock, which
// may be hours off this one.
func TestRetryAfterDateIsByTheServersClock(t *testing.T) {
	serverTime := time.Now().Add(-2 * time.Hour)
	header := http.Header{
		"Date":        {serverTime.UTC().Format(http.TimeFormat)},
		"Retry-After": {serverTime.Add(15 * time.Minute).UTC().Format(http.TimeFormat)},
	}
	if e := (Meaning{Code: transfer.CodeServer}).ResponseError(header, io.EOF); e.RetryAfter != 15*time.Minute {
		t.Errorf("got a wait of %s, want 15m", e.RetryAfter)
	}
}
