package api

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// TestEachStatusHasACode gives every answer that is no success the code that says what to do about it.
func TestEachStatusHasACode(t *testing.T) {
	const page = "<html><body>proxy</body></html>"
	for _, tc := range []struct {
		status int
		body   string
		code   transfer.Code
	}{
		{400, "errors:system Size is wrong.", transfer.CodeRefused}, {400, "drive X could not be found", transfer.CodeNotFound},
		{400, "Drive X is currently in use", transfer.CodeConflict}, {401, "", transfer.CodeUnauthorized},
		{401, page, transfer.CodeUnauthorized}, {402, "", transfer.CodeRefused}, {403, "", transfer.CodeRefused},
		{404, "", transfer.CodeNotFound}, {404, page, transfer.CodeProtocol}, {405, "", transfer.CodeRefused},
		{408, "", transfer.CodeTimeout}, {409, "", transfer.CodeConflict}, {409, page, transfer.CodeConflict}, {413, "", transfer.CodeRefused},
		{429, page, transfer.CodeThrottled}, {500, "", transfer.CodeServer}, {502, page, transfer.CodeServer}, {503, "", transfer.CodeServer},
		{504, page, transfer.CodeTimeout}, {507, "", transfer.CodeRefused}, {302, "", transfer.CodeProtocol}, {201, "", transfer.CodeProtocol},
	} {
		t.Run(fmt.Sprint(tc.status, tc.body), func(t *testing.T) {
			c := served(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tc.status)
				_, _ = w.Write([]byte(tc.body))
			})
			_, err := c.Info(t.Context(), uuid)
			want(t, err, tc.code, "look at drive "+uuid+" on zrh", fmt.Sprint(tc.status))
			if strings.Contains(err.Error(), "errors:") || strings.Contains(err.Error(), "<") {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestResponsesOfOtherServersAreRefused meets endpoints that are something else.
func TestResponsesOfOtherServersAreRefused(t *testing.T) {
	for _, body := range []string{
		"<!DOCTYPE html><title>x", `{"drives": []}`, "[]", "", "size 10\n", "drive " + uuid + "\nsize many\n", "drive " + uuid + "\nsize -1\n",
		"drive " + uuid + "\nsize 1\n\ndrive " + uuid + "\nsize 1\n", "drive \x1b[31mred\nsize 1\n",
	} {
		c := served(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) })
		_, err := c.Info(t.Context(), uuid)
		want(t, err, transfer.CodeProtocol)
		_, err = c.Profile(t.Context())
		want(t, err, transfer.CodeProtocol)
	}
	page := served(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>log in first</html>")) })
	want(t, page.Destroy(t.Context(), uuid), transfer.CodeProtocol, "is this an endpoint of API 1.0?")
	want(t, drive(page, 4096, transfer.CompressionNone).WriteChunk(t.Context(), transfer.Chunk{Len: 10}, make([]byte, 10)), transfer.CodeProtocol)
	c := served(t, http.NotFound)
	_, err := c.Create(t.Context(), CreateOptions{Name: "x", Size: 512})
	want(t, err, transfer.CodeProtocol, "is this an endpoint of API 1.0?")
}

// TestResponseIsBounded ends at the most that an answer of keys and values may have, and not when the endpoint does.
func TestResponseIsBounded(t *testing.T) {
	ended := make(chan struct{})
	c := served(t, func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		line := []byte("name " + strings.Repeat("x", 1<<20) + "\n")
		for r.Context().Err() == nil {
			if _, err := w.Write(line); err != nil {
				return
			}
		}
	})
	_, err := c.List(t.Context())
	want(t, err, transfer.CodeProtocol, "longer than")
	<-ended
}

func TestRetryAfterIsReturned(t *testing.T) {
	c := served(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "9")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	_, err := c.List(t.Context())
	var e *transfer.Error
	if !errors.As(err, &e) || e.RetryAfter != 9*time.Second {
		t.Errorf("%+v", e)
	}
}

// TestRedirectsAreNotFollowed goes nowhere, and above all not with the password.
func TestRedirectsAreNotFollowed(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s was asked for elsewhere, with %q", r.URL, r.Header.Get("Authorization"))
	}))
	t.Cleanup(elsewhere.Close)
	for _, status := range []int{301, 302, 303, 307, 308} {
		c := served(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL+r.URL.Path, status) })
		_, err := c.Info(t.Context(), uuid)
		want(t, err, transfer.CodeProtocol, "redirects are not followed")
		want(t, drive(c, 4096, transfer.CompressionNone).WriteChunk(t.Context(), transfer.Chunk{Len: 10}, make([]byte, 10)), transfer.CodeProtocol)
	}
}

// TestUnreachableDiffersFromWrongProtocol tells a closed port from a server that speaks another protocol.
func TestUnreachableDiffersFromWrongProtocol(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = client(t, Config{URL: "http://" + free}).Profile(t.Context())
	want(t, err, transfer.CodeUnreachable)
	_, err = client(t, Config{URL: "http://no-such-host.invalid"}).Profile(t.Context())
	want(t, err, transfer.CodeUnreachable)
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	_, err = client(t, Config{URL: strings.Replace(plain.URL, "http:", "https:", 1)}).Profile(t.Context())
	want(t, err, transfer.CodeProtocol, "https")
}

// TestPrivateAuthorityIsTrustedFromCAFile trusts a private authority if it is told to, and no other.
func TestPrivateAuthorityIsTrustedFromCAFile(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("uuid 1\n"))
	}))
	s.Config.ErrorLog = nil
	s.StartTLS()
	t.Cleanup(s.Close)
	_, err := client(t, Config{URL: s.URL}).Profile(t.Context())
	want(t, err, transfer.CodeUntrusted, "ca_file")
	ca := authority(t, s)
	if _, err := client(t, Config{URL: s.URL, CAFile: ca}).Profile(t.Context()); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(ca, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, cfg := range []Config{
		{URL: s.URL, CAFile: ca}, {URL: s.URL, CAFile: ca + ".none"}, {URL: "ftp://h"}, {URL: "https://"}, {URL: "https://u:p@h"}, {URL: "https://h?q=1"}, {URL: ":"},
	} {
		_, err := New(cfg)
		want(t, err, transfer.CodeInvalid)
	}
}

// TestMessagesAreCleanForATerminal makes what an endpoint says fit for a terminal.
func TestMessagesAreCleanForATerminal(t *testing.T) {
	for in, want := range map[string]string{
		"errors:system  It\r\nfailed.\n": "system It failed.", "\x1b[31mred\x00": "[31mred", "\xff\xfe": "",
	} {
		if got := clean([]byte(in)); got != want {
			t.Errorf("%q became %q", in, got)
		}
	}
	if got := clean([]byte(strings.Repeat("ü", 10_000))); len(got) > maxMessage+len("…") {
		t.Errorf("%d bytes are left", len(got))
	}
}

// TestTooLargeBodyNamesASmallerChunk says how large the body was and what to try, whoever answers: a proxy does it
// with a page of its own.
func TestTooLargeBodyNamesASmallerChunk(t *testing.T) {
	for _, page := range []string{"", "<html>413 Request Entity Too Large</html>"} {
		c := served(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			_, _ = w.Write([]byte(page))
		})
		d := drive(c, 4<<20, transfer.CompressionNone)
		err := d.WriteChunk(t.Context(), transfer.Chunk{Len: 3 << 20}, make([]byte, 3<<20))
		want(t, err, transfer.CodeRefused, "413", "3145728 bytes", "--chunk-size 2M")
		if f := transfer.FailureOf(err); strings.Contains(f.Hint, "API 1.0") {
			t.Errorf("%+v", f)
		}
	}
}

// TestAccountReturnsTheEndpointsTime is that of the endpoint, by what it answers.
func TestAccountReturnsTheEndpointsTime(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for date, want := range map[string]time.Time{at.Format(http.TimeFormat): at, "noon": {}} {
		c := served(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", date)
			_, _ = w.Write([]byte("uuid u\n"))
		})
		if uuid, clock, err := c.Account(t.Context()); uuid != "u" || !clock.Equal(want) || err != nil {
			t.Errorf("%s: %s, %s, %v", date, uuid, clock, err)
		}
	}
}
