package flow

import (
	"context"
	"math"
	"sync"
	"time"
)

// Direction is the direction of a call over a full-duplex link: what carries most of its bytes.
type Direction int

// Each chunk of a job that verifies what it writes crosses the link in both directions.
const (
	Write    Direction = iota // to the target
	ReadBack                  // from the target
)

// A Duplex keeps both directions of a link busy. Left to themselves, chunks that are written
// together are read back together, while the other direction idles. So of the chunks in flight only
// as many move in one direction at once as is that direction's share of the time: half of them where
// both take equally long, nearly all are written where the drive is slow to write.
//
// A nil Duplex limits nothing. It is safe for concurrent use.
type Duplex struct {
	limit func() int // of calls in both directions

	mu         sync.Mutex
	running    [2]int        // calls, by direction
	ended      chan struct{} // closed and replaced when a call ends
	calls      [2]callTimes  // by direction
	fresh      int           // successful calls since the last rebalance
	writeShare float64       // of chunks in flight, how many are written; from 0 to 1
}

// callTimes is an exponentially weighted sum of successful calls: each rebalance halves the weight of
// those before it.
type callTimes struct{ seconds, count float64 }

// NewDuplex returns a Duplex that gives each direction half of limit's result until calls in both
// have been observed. limit says how many chunks are in flight, from 1, such as [Window.Limit]; it is
// asked for each call and must not call the Duplex.
func NewDuplex(limit func() int) *Duplex {
	return &Duplex{limit: limit, ended: make(chan struct{}), writeShare: 0.5}
}

// Begin waits until fewer calls are running in direction dir than its share allows, and counts one more.
// It returns ctx's error if ctx ends while it waits. After nil the caller calls End when its call has
// ended.
//
// All waiting calls try again each time a call ends, in either direction, and so use a limit that has
// grown. None waits for ever: each direction may run at least one call, so while a call waits another
// one of its direction runs.
func (d *Duplex) Begin(ctx context.Context, dir Direction) error {
	if d == nil {
		return ctx.Err()
	}
	for {
		d.mu.Lock()
		if d.running[dir] < d.most(dir) {
			d.running[dir]++
			d.mu.Unlock()
			return nil
		}
		ended := d.ended
		d.mu.Unlock()
		select {
		case <-ended:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// End counts a call out that Begin counted in.
func (d *Duplex) End(dir Direction) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running[dir]--
	close(d.ended)
	d.ended = make(chan struct{})
}

// Running returns how many calls are running in direction dir.
func (d *Duplex) Running(dir Direction) int {
	if d == nil {
		return 0
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.running[dir]
}

// Observe records how long a successful call in direction dir took, before its End,
// without the time that it waited for anything but the link and the drive. Each time as many calls
// have been recorded as chunks may be in flight, the shares follow the mean times.
func (d *Duplex) Observe(dir Direction, took time.Duration) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls[dir].seconds += took.Seconds()
	d.calls[dir].count++
	if d.fresh++; d.fresh >= d.limit() {
		d.rebalance()
	}
}

// most is how many calls may run in a direction, from 1.
func (d *Duplex) most(dir Direction) int {
	share := d.writeShare
	if dir == ReadBack {
		share = 1 - share
	}
	return max(1, int(math.Round(float64(d.limit())*share)))
}

// rebalance sets the shares by the mean time of a call in each direction. Sums would not do: when a
// job begins, more chunks have been written than read back.
func (d *Duplex) rebalance() {
	if d.calls[Write].count > 0 && d.calls[ReadBack].count > 0 {
		write, read := d.calls[Write].mean(), d.calls[ReadBack].mean()
		if write+read > 0 {
			d.writeShare = write / (write + read)
		}
	}
	for dir := range d.calls {
		d.calls[dir].seconds /= 2
		d.calls[dir].count /= 2
	}
	d.fresh = 0
}

func (c callTimes) mean() float64 { return c.seconds / c.count }
