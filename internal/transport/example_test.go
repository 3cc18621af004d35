package transport_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"golang.org/x/time/rate"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transport"
)

// The stack of layers that a client of an endpoint makes for each job.
func Example() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprintf(w, "received %d bytes", n)
	}))
	defer server.Close()

	pool, err := transport.New(transport.Config{MaxIdle: 16})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.CloseIdleConnections()
	count := new(meter)
	rtt := &transport.RTT{Next: pool}
	stack := &transport.CloseWait{
		Next: &transport.Limit{
			Rate: rate.NewLimiter(1<<20, 64<<10), // 1 MiB a second
			Next: &transport.Meter{
				Meter: count,
				Next:  &transport.Watchdog{Timeouts: transport.DefaultTimeouts, Next: rtt},
			},
		},
	}

	ctx := context.Background()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL, strings.NewReader("hello"))
	if err != nil {
		fmt.Println(err)
		return
	}
	resp, err := stack.RoundTrip(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	fmt.Println(string(text), err)
	fmt.Printf("%d bytes out, %d in; RTT measured: %t\n", count.out, count.in, rtt.Lowest() > 0)
	// Output:
	// received 5 bytes <nil>
	// 5 bytes out, 16 in; RTT measured: true
}

// meter is the counts of one call.
type meter struct{ out, in int64 }

func (m *meter) AddWireOut(n int64) { m.out += n }
func (m *meter) AddWireIn(n int64)  { m.in += n }
func (m *meter) AddChunk(bool)      {}

// A status becomes an error that says what to do, and whether a retry helps.
func ExampleMeanings_Status() {
	meanings := transport.Meanings{
		Statuses: map[int]transport.Meaning{
			http.StatusConflict: {Code: transfer.CodeConflict, Hint: "stop the server that uses the drive"},
		},
	}
	for _, status := range []int{http.StatusConflict, http.StatusTooManyRequests, http.StatusForbidden} {
		m := meanings.Status(status)
		fmt.Printf("%d: %s, retry: %t, hint: %q\n", status, m.Code, m.Code.Retry() != transfer.RetryNever, m.Hint)
	}
	header := http.Header{"Retry-After": {"7"}}
	err := meanings.Status(http.StatusTooManyRequests).ResponseError(header, errors.New("429 Too Many Requests"))
	fmt.Println("wait", err.RetryAfter)
	// Output:
	// 409: conflict, retry: true, hint: "stop the server that uses the drive"
	// 429: throttled, retry: true, hint: ""
	// 403: refused, retry: false, hint: "the account may not do this"
	// wait 7s
}
