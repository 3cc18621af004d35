package worker

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// limited is a source or sink that takes a number of calls at once.
type limited struct {
	*memImage
	most int
}

func (l limited) MaxInFlight() int   { return l.most }
func (l limited) RTT() time.Duration { return 0 }

// mostAtOnce records the maximum of concurrent calls.
type mostAtOnce struct {
	mu            sync.Mutex
	running, most int
}

func (m *mostAtOnce) call(ctx context.Context, _ transfer.Chunk, _ int) error {
	m.mu.Lock()
	m.running++
	m.most = max(m.most, m.running)
	m.mu.Unlock()
	err := sleep(ctx, 10*time.Millisecond)
	m.mu.Lock()
	m.running--
	m.mu.Unlock()
	return err
}

// TestInFlightIsTheLowestLimitOfTheEnds: for source and sink, above and below the default for those
// without a limit.
func TestInFlightIsTheLowestLimitOfTheEnds(t *testing.T) {
	for _, tc := range []struct{ source, sink, want int }{
		{0, 0, defaultInFlight}, {0, 64, 64}, {64, 0, 64}, {0, 3, 3}, {3, 0, 3}, {64, 32, 32}, {32, 64, 32}, {8, 64, 8},
	} {
		t.Run(fmt.Sprintf("source %d, sink %d", tc.source, tc.sink), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := new(mostAtOnce)
				image := newMemImage(randomBytes(1000 * chunkSize))
				image.onRead = calls.call // reads are not held back to keep a link's directions busy
				var source transfer.Source = image
				var sink transfer.Sink = newMemImage(nil)
				if tc.source > 0 {
					source = limited{image, tc.source}
				}
				if tc.sink > 0 {
					sink = limited{newMemImage(nil), tc.sink}
				}
				j := newJob(t, source, sink)
				j.spec.Verify = transfer.VerifyNone
				j.mustRun()
				if calls.most != tc.want {
					t.Errorf("got %d chunks in flight, want %d", calls.most, tc.want)
				}
			})
		})
	}
}
