package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"github.com/transferd/transferd/internal/transfer"
)

// peer plays the network and the server below a layer, in the time of the test's bubble.
type peer func(req *http.Request) (*http.Response, error)

func (p peer) RoundTrip(req *http.Request) (*http.Response, error) { return p(req) }

// readBody reads and closes a request's body, as http.Transport does.
func readBody(req *http.Request) error {
	if req.Body == nil {
		return nil
	}
	_, err := io.Copy(io.Discard, req.Body)
	return errors.Join(err, req.Body.Close())
}

func response(body io.Reader) *http.Response {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(body)}
}

// responding reads the body of a request and responds with n bytes, in pieces of at most 1,000,
// until the call's context ends.
func responding(n int) peer {
	return func(req *http.Request) (*http.Response, error) {
		if err := errors.Join(readBody(req), req.Context().Err()); err != nil {
			return nil, err
		}
		return response(&slow{bytes: 1000, reads: n / 1000, ctx: req.Context()}), nil
	}
}

func post(ctx context.Context, t *testing.T, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://peer.invalid", body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// call makes a call and reads the response to its end.
func call(rt http.RoundTripper, req *http.Request) (int64, error) {
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(io.Discard, resp.Body)
	return n, errors.Join(err, resp.Body.Close())
}

// slow is a body whose Reads take the time pause; it ends after a number of Reads.
type slow struct {
	pause time.Duration
	bytes int // of each Read
	reads int
	ctx   context.Context // whose end ends a Read
}

func (s *slow) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	if s.reads == 0 {
		return 0, io.EOF
	}
	s.reads--
	select {
	case <-time.After(s.pause):
		return min(s.bytes, len(p)), nil
	case <-s.ctx.Done():
		return 0, s.ctx.Err()
	}
}

func TestWatchdogEndsStalledCalls(t *testing.T) {
	for name, tc := range map[string]struct {
		peer peer
		ends time.Duration // 0: with success
	}{
		"no response": {func(req *http.Request) (*http.Response, error) {
			err := readBody(req)
			<-req.Context().Done()
			return nil, errors.Join(err, req.Context().Err())
		}, 2 * time.Minute},
		"a body that is not read": {func(req *http.Request) (*http.Response, error) {
			_, err := req.Body.Read(make([]byte, 10))
			<-req.Context().Done()
			return nil, errors.Join(err, req.Body.Close(), req.Context().Err())
		}, time.Minute},
		"a response that stops": {func(req *http.Request) (*http.Response, error) {
			stop := &slow{pause: time.Hour, reads: 1, ctx: req.Context()}
			return response(io.MultiReader(strings.NewReader("begin"), stop)), readBody(req)
		}, time.Minute},
		"a response that is too slow": {func(req *http.Request) (*http.Response, error) {
			return response(&slow{pause: time.Second, bytes: 1, reads: 1000, ctx: req.Context()}), readBody(req)
		}, time.Minute + time.Second},
		"a slow response": {func(req *http.Request) (*http.Response, error) {
			return response(&slow{pause: time.Second, bytes: 2, reads: 1000, ctx: req.Context()}), readBody(req)
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				dog := &Watchdog{Next: tc.peer, Timeouts: timeouts}
				_, err := call(dog, post(t.Context(), t, bytes.NewReader(make([]byte, 1000))))
				if tc.ends == 0 {
					if err != nil {
						t.Errorf("got %v, want success", err)
					}
					return
				}
				if elapsed := time.Since(began); transfer.CodeOf(err) != transfer.CodeTimeout || elapsed != tc.ends {
					t.Errorf("got %v after %s, want %s after %s", err, elapsed, transfer.CodeTimeout, tc.ends)
				}
			})
		})
	}
}

// TestWatchdogIgnoresWaitsOfTheCaller: the watchdog counts neither waits for the request's body nor
// times in which no one reads the response.
func TestWatchdogIgnoresWaitsOfTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dog := &Watchdog{Next: responding(10_000), Timeouts: timeouts}
		resp, err := dog.RoundTrip(post(t.Context(), t, &slow{pause: time.Hour, bytes: 1, reads: 3, ctx: t.Context()}))
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			time.Sleep(time.Hour)
			if _, err := resp.Body.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
		if err := resp.Body.Close(); err != nil {
			t.Errorf("Close: got %v, want success", err)
		}
	})
}

// TestWatchdogReleasesContext: the context of a call ends with the call.
func TestWatchdogReleasesContext(t *testing.T) {
	for name, fails := range map[string]error{"answered": nil, "failed": io.ErrUnexpectedEOF} {
		t.Run(name, func(t *testing.T) {
			var ctx context.Context
			dog := &Watchdog{Timeouts: timeouts, Next: peer(func(req *http.Request) (*http.Response, error) {
				ctx = req.Context()
				if fails != nil {
					return nil, fails
				}
				return response(strings.NewReader("")), nil
			})}
			if _, err := call(dog, post(t.Context(), t, nil)); !errors.Is(err, fails) {
				t.Errorf("got %v, want %v", err, fails)
			}
			if ctx.Err() == nil {
				t.Error("the call's context has not ended")
			}
		})
	}
}

func TestLimitSlowsBothDirections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := &Limit{Next: responding(5000), Rate: rate.NewLimiter(1000, 1000)}
		began := time.Now()
		n, err := call(limit, post(t.Context(), t, bytes.NewReader(make([]byte, 6000))))
		if err != nil || n != 5000 {
			t.Errorf("got %d bytes, %v; want 5000", n, err)
		}
		// 11,000 bytes; the burst of 1,000 passes at once.
		if elapsed := time.Since(began); elapsed < 9900*time.Millisecond || elapsed > 10100*time.Millisecond {
			t.Errorf("elapsed %s, want 10s", elapsed)
		}
	})
}

// TestLimitEndsWithTheCall: Limit does not wait for a call that has ended.
func TestLimitEndsWithTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		limit := &Limit{Next: responding(5000), Rate: rate.NewLimiter(rate.Every(time.Hour), 1000)}
		began := time.Now()
		if _, err := call(limit, post(ctx, t, nil)); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want %v", err, context.Canceled)
		}
		if elapsed := time.Since(began); elapsed != time.Second {
			t.Errorf("elapsed %s, want 1s", elapsed)
		}
	})
}

// TestLimitedCallDoesNotStall: a wait for the job's own limit is no stall.
func TestLimitedCallDoesNotStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dog := &Watchdog{Next: responding(1000), Timeouts: timeouts}
		limit := &Limit{Next: dog, Rate: rate.NewLimiter(rate.Every(time.Minute), 10)}
		if _, err := call(limit, post(t.Context(), t, bytes.NewReader(make([]byte, 1000)))); err != nil {
			t.Errorf("got %v, want success", err)
		}
	})
}

// counts is a transfer.Meter.
type counts struct{ out, in atomic.Int64 }

func (c *counts) AddWireOut(n int64) { c.out.Add(n) }
func (c *counts) AddWireIn(n int64)  { c.in.Add(n) }
func (c *counts) AddChunk(bool)      {}

// TestMeterCountsWhatCrosses: Meter counts the bodies of both directions. One that is sent again
// counts twice.
func TestMeterCountsWhatCrosses(t *testing.T) {
	c := new(counts)
	m := &Meter{Meter: c, Next: peer(func(req *http.Request) (*http.Response, error) {
		if err := readBody(req); err != nil {
			return nil, err
		}
		body, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		req.Body = body
		return response(strings.NewReader("four")), readBody(req)
	})}
	if _, err := call(m, post(t.Context(), t, strings.NewReader("twelve bytes"))); err != nil {
		t.Fatal(err)
	}
	if c.out.Load() != 24 || c.in.Load() != 4 {
		t.Errorf("counted %d bytes out and %d in, want 24 and 4", c.out.Load(), c.in.Load())
	}
}

// TestCloseWaitReturnsAfterAllReaders: a call ends only when no layer below reads a body of it,
// whether it succeeded or failed, and however often its body was opened.
func TestCloseWaitReturnsAfterAllReaders(t *testing.T) {
	for name, fails := range map[string]error{"answered": nil, "failed": io.ErrUnexpectedEOF} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				wait := &CloseWait{Next: peer(func(req *http.Request) (*http.Response, error) {
					again, err := req.GetBody()
					if err != nil {
						t.Errorf("GetBody: got %v, want success", err)
					}
					go func() {
						time.Sleep(time.Second)
						_ = req.Body.Close()
						_ = req.Body.Close() // as net/http may
						time.Sleep(time.Second)
						_ = again.Close()
					}()
					if fails != nil {
						return nil, fails
					}
					return response(strings.NewReader("early")), nil
				})}
				began := time.Now()
				if _, err := call(wait, post(t.Context(), t, strings.NewReader("body"))); !errors.Is(err, fails) {
					t.Errorf("got %v, want %v", err, fails)
				}
				if elapsed := time.Since(began); elapsed != 2*time.Second {
					t.Errorf("the call elapsed %s, want 2s", elapsed)
				}
			})
		})
	}
}

// TestRTTIsTheLowestOfSmallRequests: large requests and the time to connect do not count.
func TestRTTIsTheLowestOfSmallRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var connect, respond time.Duration
		rtt := &RTT{Next: peer(func(req *http.Request) (*http.Response, error) {
			time.Sleep(connect)
			if trace := httptrace.ContextClientTrace(req.Context()); trace != nil {
				trace.GotConn(httptrace.GotConnInfo{})
			}
			time.Sleep(respond)
			return response(strings.NewReader("")), readBody(req)
		})}
		for _, tc := range []struct {
			connect, respond time.Duration
			body             int
			want             time.Duration
		}{
			{time.Second, 30 * time.Millisecond, 0, 30 * time.Millisecond},
			{0, 50 * time.Millisecond, 0, 30 * time.Millisecond},
			{0, 20 * time.Millisecond, smallBody - 1, 20 * time.Millisecond},
			{0, 10 * time.Millisecond, smallBody, 20 * time.Millisecond},
		} {
			connect, respond = tc.connect, tc.respond
			if _, err := call(rtt, post(t.Context(), t, bytes.NewReader(make([]byte, tc.body)))); err != nil {
				t.Fatal(err)
			}
			if got := rtt.Lowest(); got != tc.want {
				t.Errorf("after %+v: got %s, want %s", tc, got, tc.want)
			}
		}
	})
}

// TestLayersLeaveTheRequestAlone: no layer changes a request, as http.RoundTripper demands.
func TestLayersLeaveTheRequestAlone(t *testing.T) {
	var next http.RoundTripper = responding(1000)
	for _, layer := range []http.RoundTripper{
		&Watchdog{Next: next, Timeouts: timeouts}, &Limit{Next: next, Rate: rate.NewLimiter(1000, 1000)},
		&Meter{Next: next, Meter: new(counts)}, &CloseWait{Next: next}, &RTT{Next: next},
	} {
		req := post(t.Context(), t, strings.NewReader("body"))
		body, ctx := req.Body, req.Context()
		if _, err := call(layer, req); err != nil {
			t.Fatal(err)
		}
		if req.Body != body || req.Context() != ctx {
			t.Errorf("%T changed the request", layer)
		}
	}
}

// TestLayersAllocatePerCallOnly: the allocations of a call do not grow with its bodies.
func TestLayersAllocatePerCallOnly(t *testing.T) {
	piece := make([]byte, pieceSize)
	read := func(r io.Reader) error {
		for {
			if _, err := r.Read(piece); err != nil {
				return err
			}
		}
	}
	peer := peer(func(req *http.Request) (*http.Response, error) {
		_ = read(req.Body)
		_ = req.Body.Close()
		return response(io.LimitReader(endless{}, req.ContentLength)), nil
	})
	stack := &CloseWait{Next: &Limit{
		Rate: rate.NewLimiter(rate.Inf, pieceSize),
		Next: &Meter{Meter: new(counts), Next: &Watchdog{Timeouts: DefaultTimeouts, Next: &RTT{Next: peer}}},
	}}
	allocs := func(pieces int64) float64 {
		return testing.AllocsPerRun(10, func() {
			req := post(t.Context(), t, io.LimitReader(endless{}, pieces*pieceSize))
			req.ContentLength = pieces * pieceSize
			resp, err := stack.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			if err := read(resp.Body); !errors.Is(err, io.EOF) {
				t.Errorf("got %v, want io.EOF", err)
			}
			_ = resp.Body.Close()
		})
	}
	if few, many := allocs(1), allocs(1000); many > few+5 {
		t.Errorf("a call allocates %g times with one piece and %g times with 1,000", few, many)
	}
}

// endless is zeros.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
