package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
	"github.com/transferd/transferd/internal/transport"
)

func server(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// content serves data with ranges and a version.
func content(version string, data []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", version)
		http.ServeContent(w, r, "disk.img", time.Time{}, bytes.NewReader(data))
	}
}

// TestEachStatusOfAURLHasACode: each status without an image has the code that users act on.
func TestEachStatusOfAURLHasACode(t *testing.T) {
	for status, code := range map[int]transfer.Code{
		301: transfer.CodeProtocol, 304: transfer.CodeProtocol, 400: transfer.CodeRefused, 401: transfer.CodeForbidden,
		403: transfer.CodeForbidden, 404: transfer.CodeNotFound, 408: transfer.CodeTimeout, 410: transfer.CodeNotFound,
		429: transfer.CodeThrottled, 500: transfer.CodeServer, 503: transfer.CodeServer, 504: transfer.CodeTimeout,
	} {
		s := server(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(status)
		})
		_, err := Open(t.Context(), s.URL+"/x.img?token=secret", Options{})
		expect(t, err, code)
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%d: got %v, want no secret in it", status, err)
		}
		var e *transfer.Error
		if errors.As(err, &e) && status != 301 && e.RetryAfter != 7*time.Second {
			t.Errorf("%d: got Retry-After %s, want 7s", status, e.RetryAfter)
		}
	}
}

// TestEmptyOrUnreachableURLIsRefused: an empty image, a closed port and a URL without a host are
// refused.
func TestEmptyOrUnreachableURLIsRefused(t *testing.T) {
	s := server(t, content(`"1"`, nil))
	_, err := Open(t.Context(), s.URL+"/x.img", Options{})
	expect(t, err, transfer.CodeInvalid, "empty")
	s.Close()
	_, err = Open(t.Context(), s.URL+"/x.img", Options{})
	expect(t, err, transfer.CodeUnreachable)
	_, err = Open(t.Context(), "http:///x.img", Options{})
	expect(t, err, transfer.CodeInvalid)
}

// TestRedirectForwardsNoSecrets: a redirect to another host, such as a mirror, is followed without
// the password and the query of the URL.
func TestRedirectForwardsNoSecrets(t *testing.T) {
	data := []byte("an image that is somewhere else")
	seen := make(chan string, 8)
	mirror := server(t, func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header.Get("Authorization") + r.Header.Get("Referer")
		content(`"1"`, data)(w, r)
	})
	var credentials []string
	origin := server(t, func(w http.ResponseWriter, r *http.Request) {
		credentials = append(credentials, r.Header.Get("Authorization"))
		http.Redirect(w, r, strings.Replace(mirror.URL, "127.0.0.1", "localhost", 1)+"/disk.img", http.StatusFound)
	})
	withUser := strings.Replace(origin.URL, "http://", "http://user:secret@", 1)
	src := open(t, withUser+"/disk.img?signature=secret", Options{})
	defer closed(t, src)
	buf := make([]byte, 5)
	err := src.(transfer.RandomAccess).ReadChunk(t.Context(), transfer.Chunk{Off: 3, Len: 5}, buf)
	if err != nil || string(buf) != "image" {
		t.Errorf("got %q, %v; want image", buf, err)
	}
	if len(credentials) != 1 || credentials[0] == "" {
		t.Errorf("the origin: got headers %q, want one with the password", credentials)
	}
	for range 2 {
		if header := transfertest.Receive(t, seen, "request to the mirror"); header != "" {
			t.Errorf("the mirror: got headers %q, want none", header)
		}
	}
	loop := server(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.Path+"x", http.StatusFound)
	})
	_, err = Open(t.Context(), loop.URL+"/x", Options{})
	expect(t, err, transfer.CodeProtocol, "redirects")
}

// TestRedirectFromHTTPSToHTTPIsRefused: a redirect to an unencrypted address is not followed.
func TestRedirectFromHTTPSToHTTPIsRefused(t *testing.T) {
	plain := server(t, func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("got a request for %s, want none", r.URL)
	})
	s := httptest.NewTLSServer(http.RedirectHandler(plain.URL+"/disk.img", http.StatusFound))
	t.Cleanup(s.Close)
	_, err := Open(t.Context(), s.URL+"/disk.img", Options{transport: s.Client().Transport})
	expect(t, err, transfer.CodeProtocol, "from https to http")
}

// TestUntrustedCertificateIsRefused: a certificate of an unknown authority is CodeUntrusted, and an
// unknown host name CodeUnreachable.
func TestUntrustedCertificateIsRefused(t *testing.T) {
	s := httptest.NewUnstartedServer(content(`"1"`, []byte("an image")))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	_, err := Open(t.Context(), s.URL+"/disk.img?signature=secret", Options{})
	expect(t, err, transfer.CodeUntrusted, "CA")
	_, err = Open(t.Context(), "https://no-such-host.invalid/disk.img?signature=secret", Options{})
	expect(t, err, transfer.CodeUnreachable, "check the host's name")
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v, want no secret in it", err)
	}
}

// TestWrongRangesAreRefused: a response with other bytes than requested is an error.
func TestWrongRangesAreRefused(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789"), 1000)
	whole := func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) }
	for name, tc := range map[string]struct {
		later http.HandlerFunc
		code  transfer.Code
	}{
		"another version":   {content(`"2"`, data), transfer.CodeSourceChanged},
		"another size":      {content(`"1"`, data[:9000]), transfer.CodeSourceChanged},
		"gone":              {http.NotFound, transfer.CodeNotFound},
		"another range":     {rangeOf("bytes 0-99/10000", data[:100]), transfer.CodeServer},
		"no range":          {rangeOf("", data[:100]), transfer.CodeServer},
		"all of it":         {whole, transfer.CodeServer},
		"status 501":        {status(http.StatusNotImplemented), transfer.CodeServer},
		"a bad request":     {status(http.StatusBadRequest), transfer.CodeServer},
		"no such range":     {status(http.StatusRequestedRangeNotSatisfiable), transfer.CodeServer},
		"unavailable":       {status(http.StatusServiceUnavailable), transfer.CodeServer},
		"a range cut short": {rangeOf("bytes 100-199/10000", nil), transfer.CodeNetwork},
		"cut off":           {cut(rangeOf("bytes 100-199/10000", nil)), transfer.CodeNetwork},
	} {
		t.Run(name, func(t *testing.T) {
			now := content(`"1"`, data)
			s := server(t, func(w http.ResponseWriter, r *http.Request) { now(w, r) })
			src := open(t, s.URL+"/x.img", Options{})
			defer closed(t, src)
			now = tc.later
			c := transfer.Chunk{Off: 100, Len: 100}
			err := src.(transfer.RandomAccess).ReadChunk(t.Context(), c, make([]byte, c.Len))
			expect(t, err, tc.code)
		})
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func rangeOf(header string, body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"1"`)
		if header != "" {
			w.Header().Set("Content-Range", header)
		}
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write(body)
	}
}

// cut ends the connection in the middle of the response.
func cut(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		h(w, r)
		panic(http.ErrAbortHandler)
	}
}

// TestCutBodyIsANetworkError: a body that is shorter than its Content-Length is CodeNetwork.
func TestCutBodyIsANetworkError(t *testing.T) {
	s := server(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "2000")
		_, _ = w.Write(make([]byte, 1500))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	src := open(t, s.URL+"/x.img", Options{})
	defer closed(t, src)
	_, err := src.(transfer.Stream).Next(t.Context(), make([]byte, 2000))
	expect(t, err, transfer.CodeNetwork)
}

// TestStalledURLTimesOut: a server that stalls, before its response or in the middle of it, is
// CodeTimeout.
func TestStalledURLTimesOut(t *testing.T) {
	const short = 300 * time.Millisecond
	opts := Options{timeouts: transport.Timeouts{Period: short, Bytes: 1, Response: short}}
	done := make(chan struct{})
	silent := server(t, func(http.ResponseWriter, *http.Request) { <-done })
	half := server(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "2000")
		_, _ = w.Write(make([]byte, 1500))
		_ = http.NewResponseController(w).Flush()
		<-done
	})
	defer close(done)
	_, err := Open(t.Context(), silent.URL+"/x.img", opts)
	expect(t, err, transfer.CodeTimeout)
	src := open(t, half.URL+"/x.img", opts)
	defer closed(t, src)
	n, err := src.(transfer.Stream).Next(t.Context(), make([]byte, 2000))
	expect(t, err, transfer.CodeTimeout)
	if n != 1500 {
		t.Errorf("got %d bytes before the stall, want 1500", n)
	}
}

// TestSlowURLIsReadAndAStalledOneTimesOut: a slow server is read to the end, and one below the
// minimum rate is CodeTimeout, with ranges and in order.
func TestSlowURLIsReadAndAStalledOneTimesOut(t *testing.T) {
	const n = 30_000
	var piece atomic.Int64
	trickle := func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(make([]byte, sampleSize)) // read by Open
		tick := time.NewTicker(15 * time.Millisecond)
		defer tick.Stop()
		for sent := int64(sampleSize); sent < n; sent += piece.Load() {
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
			_, _ = w.Write(make([]byte, min(piece.Load(), n-sent)))
			_ = http.NewResponseController(w).Flush()
		}
	}
	streamed := server(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(n))
		trickle(w, r)
	})
	ranged := server(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") != fmt.Sprintf("bytes=0-%d", n-1) {
			content(`"1"`, make([]byte, n))(w, r)
			return
		}
		rangeOf(fmt.Sprintf("bytes 0-%d/%d", n-1, n), nil)(w, r)
		trickle(w, r)
	})
	opts := Options{timeouts: transport.Timeouts{Period: time.Second, Bytes: n / 100, Response: 10 * time.Second}}
	// The first takes longer than the period.
	for size, code := range map[int64]transfer.Code{n / 100: "", 1: transfer.CodeTimeout} {
		piece.Store(size)
		src := open(t, ranged.URL, opts)
		err := src.(transfer.RandomAccess).ReadChunk(t.Context(), transfer.Chunk{Len: n}, make([]byte, n))
		stream := open(t, streamed.URL, opts)
		_, streamErr := stream.(transfer.Stream).Next(t.Context(), make([]byte, n))
		for _, err := range []error{err, streamErr} {
			if transfer.CodeOf(err) != code {
				t.Errorf("%d bytes at a time: got %v, want %q", size, err, code)
			}
		}
		closed(t, src)
		closed(t, stream)
	}
}

// TestWatchdogIgnoresPausesOfTheReader: the watchdog does not count the time between reads.
// Meanwhile a second source of the same server is read until its watchdog ends it.
func TestWatchdogIgnoresPausesOfTheReader(t *testing.T) {
	released := make(chan struct{})
	s := server(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, 1000))
		_ = http.NewResponseController(w).Flush()
		<-released
		_, _ = w.Write(make([]byte, 1000))
	})
	timeouts := transport.Timeouts{Period: 100 * time.Millisecond, Bytes: 1, Response: 10 * time.Second}
	src := open(t, s.URL, Options{timeouts: timeouts})
	defer closed(t, src)
	stalled := open(t, s.URL, Options{timeouts: timeouts})
	defer closed(t, stalled)
	for _, s := range []transfer.Source{src, stalled} {
		if _, err := s.(transfer.Stream).Next(t.Context(), make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	_, err := stalled.(transfer.Stream).Next(t.Context(), make([]byte, 1000))
	expect(t, err, transfer.CodeTimeout)
	close(released)
	if _, err := src.(transfer.Stream).Next(t.Context(), make([]byte, 1000)); err != nil && !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want success", err)
	}
}

// TestURLReadsObeyTheLimit: the bytes read count for the job's limit, with ranges and in order.
func TestURLReadsObeyTheLimit(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789"), 1000)
	ranged := server(t, content(`"1"`, data))
	streamed := server(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) })
	const burst = 1 << 20
	for _, url := range []string{ranged.URL, streamed.URL} {
		limit := rate.NewLimiter(rate.Every(time.Hour), burst)
		src := open(t, url, Options{Limit: limit})
		buf := make([]byte, len(data))
		var err error
		if stream, ok := src.(transfer.Stream); ok {
			_, err = stream.Next(t.Context(), buf)
		} else {
			err = src.(transfer.RandomAccess).ReadChunk(t.Context(), transfer.Chunk{Len: len(data)}, buf)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			t.Errorf("got %v, want success", err)
		}
		if got := burst - int(limit.Tokens()); got < len(data) || got > len(data)+2*sampleSize+1 {
			t.Errorf("got %d bytes from the limiter, want about %d", got, len(data))
		}
		closed(t, src)
	}
}

// TestCanceledReadOfStdinReturns: a read ends with its context, even if nothing is written.
func TestCanceledReadOfStdinReturns(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	go func() { _, _ = w.Write(make([]byte, 100)) }()
	src := open(t, "-", Options{Stdin: io.MultiReader(bytes.NewReader(make([]byte, sampleSize)), r)})
	defer closed(t, src)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := make(chan error, 1)
	go func() {
		_, err := src.(transfer.Stream).Next(ctx, make([]byte, 1000))
		got <- err
	}()
	cancel()
	if err := transfertest.Receive(t, got, "end of the read"); transfer.CodeOf(err) != transfer.CodeCanceled {
		t.Errorf("got %v, want %s", err, transfer.CodeCanceled)
	}
}
