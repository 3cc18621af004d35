package flow

import (
	"context"
	"math"
	"sync"
	"time"
)

// Direction is the direction in which most bytes of a call cross a full-duplex link.
type Direction int

// Each chunk of a job that verifies what it writes crosses the link in both directions.
const (
	Write    Direction = iota // to the target
	ReadBack                  // from the target
)

// A Duplex keeps both directions of a link busy. Without it, chunks that are written together are
// also read back together, while the other direction is idle. So it limits the calls in each
// direction to a share of the chunks in flight. The share is the direction's part of a chunk's
// time: a half where both directions take equally long, and nearly all for writing where the drive
// writes slowly.
//
// A nil Duplex limits nothing. It is safe for concurrent use.
type Duplex struct {
	limit func() (both, each int)

	mu         sync.Mutex
	running    [2]int        // calls, by direction
	ended      chan struct{} // closed and replaced when a call ends
	calls      [2]callTimes  // by direction
	observed   int           // successful calls since the last rebalance
	writeShare float64       // share of the limit for writing, from 0 to 1
}

// callTimes is an exponentially weighted sum over successful calls: each rebalance halves the
// weight of the calls before it.
type callTimes struct{ seconds, count float64 }

// NewDuplex returns a Duplex that gives each direction half of limit's result both until calls in both
// have been observed. limit returns how many calls may run in both directions together, at least 1,
// and in each direction; 0: by its share. A share would drift where the link limits the calls: the more
// calls of a direction run, the longer each takes. The Duplex calls limit for each call; it must not
// call the Duplex.
func NewDuplex(limit func() (both, each int)) *Duplex {
	return &Duplex{limit: limit, ended: make(chan struct{}), writeShare: 0.5}
}

// Begin waits until fewer calls run in direction dir than its share allows, and then counts one
// more. It returns ctx's error if ctx ends first. After nil the caller calls End when its call has
// ended.
//
// All waiting calls check again each time a call ends, in either direction, so they also use a
// limit that has grown. No call waits for ever: each direction may run at least one call, so while
// a call waits, another one of its direction runs.
func (d *Duplex) Begin(ctx context.Context, dir Direction) error {
	if d == nil {
		return ctx.Err()
	}
	for {
		d.mu.Lock()
		if d.running[dir] < d.maxCalls(dir) {
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

// End ends a call that Begin has counted.
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

// Observe records the duration of a successful call in direction dir, before its End. took has the
// time of the link and the drive and no other waits. After as many calls as chunks may be in
// flight, the shares are set from the mean durations.
func (d *Duplex) Observe(dir Direction, took time.Duration) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls[dir].seconds += took.Seconds()
	d.calls[dir].count++
	d.observed++
	if both, _ := d.limit(); d.observed >= both {
		d.rebalance()
	}
}

// maxCalls is how many calls may run in direction dir, at least 1.
func (d *Duplex) maxCalls(dir Direction) int {
	both, each := d.limit()
	if each > 0 {
		return each
	}
	share := d.writeShare
	if dir == ReadBack {
		share = 1 - share
	}
	return max(1, int(math.Round(float64(both)*share)))
}

// rebalance sets the shares by the mean duration of a call in each direction. Sums would be wrong:
// at the start of a job more chunks have been written than read back.
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
	d.observed = 0
}

func (c callTimes) mean() float64 { return c.seconds / c.count }
