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
	"github.com/transferd/transferd/internal/transfertest"
)

// TestEachStatusHasACode: each status without success has the code that says what to do.
func TestEachStatusHasACode(t *testing.T) {
	const page = "<html><body>proxy</body></html>"
	for _, tc := range []struct {
		status int
		body   string
		code   transfer.Code
	}{
		{400, "errors:system Size is wrong.", transfer.CodeRefused},
		{400, "drive X could not be found", transfer.CodeNotFound},
		{400, "Drive X is currently in use", transfer.CodeConflict}, {401, "", transfer.CodeUnauthorized},
		{401, page, transfer.CodeUnauthorized}, {402, "", transfer.CodeNoSpace}, {403, "", transfer.CodeRefused},
		{404, "", transfer.CodeNotFound}, {404, page, transfer.CodeProtocol}, {405, "", transfer.CodeRefused},
		{408, "", transfer.CodeTimeout}, {409, "", transfer.CodeConflict}, {409, page, transfer.CodeConflict},
		{413, "", transfer.CodeRefused}, {429, page, transfer.CodeThrottled}, {500, "", transfer.CodeServer},
		{502, page, transfer.CodeServer}, {503, "", transfer.CodeServer}, {504, page, transfer.CodeTimeout},
		{507, "", transfer.CodeNoSpace}, {302, "", transfer.CodeProtocol}, {201, "", transfer.CodeProtocol},
	} {
		t.Run(fmt.Sprint(tc.status, tc.body), func(t *testing.T) {
			c := newEndpoint(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tc.status)
				_, _ = w.Write([]byte(tc.body))
			})
			_, err := c.Drive(t.Context(), uuid)
			expect(t, err, tc.code, "read info of drive "+uuid+" on zrh", fmt.Sprint(tc.status))
			if strings.Contains(err.Error(), "errors:") || strings.Contains(err.Error(), "<") {
				t.Errorf("got %v, want it without prefix and page", err)
			}
		})
	}
}

// TestResponsesOfOtherServersAreRefused: a response that API 1.0 never sends is CodeProtocol.
func TestResponsesOfOtherServersAreRefused(t *testing.T) {
	for _, body := range []string{
		"<!DOCTYPE html><title>x", `{"drives": []}`, "[]", "", "size 10\n", "drive " + uuid + "\nsize many\n",
		"drive " + uuid + "\nsize -1\n",
		"drive " + uuid + "\nsize 1\n\ndrive " + uuid + "\nsize 1\n", "drive \x1b[31mred\nsize 1\n",
	} {
		c := newEndpoint(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) })
		_, err := c.Drive(t.Context(), uuid)
		expect(t, err, transfer.CodeProtocol)
		_, err = c.Profile(t.Context())
		expect(t, err, transfer.CodeProtocol)
	}
	page := newEndpoint(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("<html>log in first</html>"))
	})
	expect(t, page.DestroyDrive(t.Context(), uuid), transfer.CodeProtocol, "is this an endpoint of API 1.0?")
	err := writeTen(t, page)
	expect(t, err, transfer.CodeProtocol)
	c := newEndpoint(t, http.NotFound)
	_, err = c.CreateDrive(t.Context(), CreateOptions{Name: "x", Size: 512})
	expect(t, err, transfer.CodeProtocol, "is this an endpoint of API 1.0?")
}

// TestResponseIsBounded: a response of keys and values is read up to maxText only.
func TestResponseIsBounded(t *testing.T) {
	ended := make(chan struct{})
	c := newEndpoint(t, func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		line := []byte("name " + strings.Repeat("x", 1<<20) + "\n")
		for r.Context().Err() == nil {
			if _, err := w.Write(line); err != nil {
				return
			}
		}
	})
	_, err := c.ListDrives(t.Context())
	expect(t, err, transfer.CodeProtocol, "longer than")
	transfertest.Receive(t, ended, "end of the response")
}

func TestRetryAfterIsReturned(t *testing.T) {
	c := newEndpoint(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "9")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	_, err := c.ListDrives(t.Context())
	var e *transfer.Error
	if !errors.As(err, &e) || e.RetryAfter != 9*time.Second {
		t.Errorf("got %+v, want RetryAfter 9s", e)
	}
}

// writeTen writes ten bytes to a drive.
func writeTen(t *testing.T, c *Client) error {
	t.Helper()
	d := drive(c, 4096, transfer.CompressionNone)
	return d.WriteChunk(t.Context(), transfer.Chunk{Len: 10}, make([]byte, 10))
}

// TestRedirectsAreNotFollowed: a redirect is an error, and the password is not sent to its target.
func TestRedirectsAreNotFollowed(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("got a request for %s with %q, want none", r.URL, r.Header.Get("Authorization"))
	}))
	t.Cleanup(elsewhere.Close)
	for _, status := range []int{301, 302, 303, 307, 308} {
		c := newEndpoint(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+r.URL.Path, status)
		})
		_, err := c.Drive(t.Context(), uuid)
		expect(t, err, transfer.CodeProtocol, "redirects are not followed")
		expect(t, writeTen(t, c), transfer.CodeProtocol)
	}
}

// TestUnreachableDiffersFromWrongProtocol: a closed port and a server of another protocol have
// different codes.
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
	expect(t, err, transfer.CodeUnreachable)
	_, err = client(t, Config{URL: "http://no-such-host.invalid"}).Profile(t.Context())
	expect(t, err, transfer.CodeUnreachable)
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	_, err = client(t, Config{URL: strings.Replace(plain.URL, "http:", "https:", 1)}).Profile(t.Context())
	expect(t, err, transfer.CodeProtocol, "https")
}

// TestPrivateAuthorityIsTrustedFromCAFile: a private authority is trusted only if CAFile has its
// certificate.
func TestPrivateAuthorityIsTrustedFromCAFile(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("uuid 1\n"))
	}))
	s.Config.ErrorLog = nil
	s.StartTLS()
	t.Cleanup(s.Close)
	_, err := client(t, Config{URL: s.URL}).Profile(t.Context())
	expect(t, err, transfer.CodeUntrusted, "ca_file")
	ca := authority(t, s)
	if _, err := client(t, Config{URL: s.URL, CAFile: ca}).Profile(t.Context()); err != nil {
		t.Errorf("with CAFile: got %v, want success", err)
	}
	if err := os.WriteFile(ca, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, cfg := range []Config{
		{URL: s.URL, CAFile: ca}, {URL: s.URL, CAFile: ca + ".none"}, {URL: "ftp://h"}, {URL: "https://"},
		{URL: "https://u:p@h"}, {URL: "https://h?q=1"}, {URL: ":"},
	} {
		_, err := New(cfg)
		expect(t, err, transfer.CodeInvalid)
	}
}

// TestMessagesAreCleanForATerminal: a message has one line, no control characters and a bounded
// length.
func TestMessagesAreCleanForATerminal(t *testing.T) {
	for in, want := range map[string]string{
		"It \r\n\tfailed.\n": "It failed.", "\x1b[31mred\x00": "[31mred", "\xff\xfe": "",
	} {
		if got := singleLine([]byte(in)); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	if got := singleLine([]byte(strings.Repeat("ü", 10_000))); len(got) > maxMessage+len("…") {
		t.Errorf("got %d bytes, want at most %d", len(got), maxMessage+len("…"))
	}
}

// TestTooLargeBodyNamesASmallerChunk: the error of a 413 has the size of the body and a smaller
// chunk size, also if a proxy sends a page of its own.
func TestTooLargeBodyNamesASmallerChunk(t *testing.T) {
	for _, page := range []string{"", "<html>413 Request Entity Too Large</html>"} {
		c := newEndpoint(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			_, _ = w.Write([]byte(page))
		})
		d := drive(c, 4<<20, transfer.CompressionNone)
		err := d.WriteChunk(t.Context(), transfer.Chunk{Len: 3 << 20}, make([]byte, 3<<20))
		expect(t, err, transfer.CodeRefused, "413", "3145728 bytes", "--chunk-size 2M")
		if f := transfer.FailureOf(err); strings.Contains(f.Hint, "API 1.0") {
			t.Errorf("got %+v, want no hint about the URL", f)
		}
	}
}

// TestProfileHasTheEndpointsTime: the time comes from the header Date.
func TestProfileHasTheEndpointsTime(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for date, want := range map[string]time.Time{at.Format(http.TimeFormat): at, "noon": {}} {
		c := newEndpoint(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", date)
			_, _ = w.Write([]byte("uuid u\n"))
		})
		if p, err := c.Profile(t.Context()); p.UUID != "u" || !p.Clock.Equal(want) || err != nil {
			t.Errorf("%s: got %s, %s, %v; want u and %s", date, p.UUID, p.Clock, err, want)
		}
	}
}

// TestRefusalForWantOfSpaceOrMoney: whatever its status and key. Other refusals, and those of calls
// that use nothing, are none.
func TestRefusalForWantOfSpaceOrMoney(t *testing.T) {
	const used = "The account uses 6 of 10 bytes of disk, the limit of its quota"
	for _, tc := range []struct {
		status int
		body   string
		code   transfer.Code
	}{
		{400, "name x\nsize 5\nerrors:size " + used + "\n", transfer.CodeNoSpace},
		{400, "errors:system Insufficient funds", transfer.CodeNoSpace},
		{400, "Your BALANCE is too low.", transfer.CodeNoSpace},
		{403, "errors:disk Subscribe to more disk first.", transfer.CodeNoSpace},
		{402, "", transfer.CodeNoSpace},
		{507, "", transfer.CodeNoSpace},
		{400, "errors:size must be a number of bytes", transfer.CodeRefused},
		{400, "errors:cpu The minimum CPU subscription is 2000 core MHz", transfer.CodeRefused},
		{400, "name my balance\nerrors:name is too long", transfer.CodeRefused},
		{403, "errors:system Forbidden", transfer.CodeRefused},
		{403, "<html>Not enough rights", transfer.CodeProtocol},
		{400, "drive of the quota could not be found", transfer.CodeNotFound},
		{409, "currently in use by quota", transfer.CodeConflict},
	} {
		_, err := refusing(t, tc.status, tc.body).CreateDrive(t.Context(), CreateOptions{Name: "x", Size: 5})
		expect(t, err, tc.code)
		var e *transfer.Error
		noHint := !errors.As(err, &e) || e.Hint == "" || strings.Contains(e.Hint, "correct")
		if tc.code == transfer.CodeNoSpace && noHint {
			t.Errorf("%s: got hint %q, want what makes space", tc.body, e.Hint)
		}
	}
	_, err := refusing(t, 400, "errors:balance The balance is too low.").SetProfile(t.Context(), Object{"email": "x"})
	expect(t, err, transfer.CodeRefused, "balance")
}
