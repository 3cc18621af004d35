package transport_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"golang.org/x/time/rate"

	"github.com/transferd/transferd/internal/transport"
)

// A stack of all layers, as a client of an endpoint has it for each job.
func Example() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprintf(w, "%d bytes came", n)
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
				Next:  &transport.Watchdog{Patience: transport.DefaultPatience, Next: rtt},
			},
		},
	}

	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, server.URL, strings.NewReader("hello"))
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
	answer, err := io.ReadAll(resp.Body)
	fmt.Println(string(answer), err)
	fmt.Println(count.out, "out,", count.in, "in, a round trip was measured:", rtt.Lowest() > 0)
	// Output:
	// 5 bytes came <nil>
	// 5 out, 12 in, a round trip was measured: true
}

// meter is the counts of one call.
type meter struct{ out, in int64 }

func (m *meter) AddWireOut(n int64) { m.out += n }
func (m *meter) AddWireIn(n int64)  { m.in += n }
func (m *meter) AddChunk(bool)      {}
