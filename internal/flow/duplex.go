package flow

import (
	"context"
	"math"
	"sync"
	"time"
)

// Direction is one of the two ways of a link.
type Direction int

// The directions of a job that writes and reads back.
const (
	Write Direction = iota
	ReadBack
)

// Duplex keeps both directions of a link busy. Chunks that are written together would be read back together,
// and so on, while one direction idles; so of those in flight only as many go one way at once as that way's share of the
// time is: half of them on a link, more writes where it is the drive that is slow to write. A nil one limits nothing.
type Duplex struct {
	limit func() int // how many chunks are in flight

	mu    sync.Mutex
	calls [2]int        // under way in each direction
	freed chan struct{} // closed when one of them ends
	// Of calls in each direction, seconds spent and how many; those of the last round count half as much as of this one, and so on.
	spent, ended [2]float64
	round        int     // calls that succeeded in the round
	share        float64 // of a chunk's time, that writing takes; from 0 to 1
}

// NewDuplex begins with equal shares.
func NewDuplex(limit func() int) *Duplex {
	return &Duplex{limit: limit, freed: make(chan struct{}), share: 0.5}
}

// Do does op when there is room for it in its direction.
func (d *Duplex) Do(ctx context.Context, way Direction, op func() error) error {
	if d == nil {
		return op()
	}
	if err := d.begin(ctx, way); err != nil {
		return err
	}
	defer d.end(way)
	return op()
}

func (d *Duplex) begin(ctx context.Context, way Direction) error {
	for {
		d.mu.Lock()
		if d.calls[way] < d.room(way) {
			d.calls[way]++
			d.mu.Unlock()
			return nil
		}
		freed := d.freed
		d.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (d *Duplex) end(way Direction) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls[way]--
	close(d.freed)
	d.freed = make(chan struct{})
}

// Observe counts a call that succeeded: how long it took counts, not how long a busy drive was waited for before.
func (d *Duplex) Observe(way Direction, took time.Duration) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.spent[way] += took.Seconds()
	d.ended[way]++
	if d.round++; d.round >= d.limit() {
		d.divide()
	}
}

// room is how many calls may be under way in a direction.
func (d *Duplex) room(way Direction) int {
	share := d.share
	if way == ReadBack {
		share = 1 - share
	}
	return max(1, int(math.Round(float64(d.limit())*share)))
}

// divide gives each direction its share anew, by what a call takes: more have been written than read back when a job begins.
func (d *Duplex) divide() {
	if d.ended[Write] > 0 && d.ended[ReadBack] > 0 {
		write, read := d.spent[Write]/d.ended[Write], d.spent[ReadBack]/d.ended[ReadBack]
		if write+read > 0 {
			d.share = write / (write + read)
		}
	}
	for way := range d.spent {
		d.spent[way] /= 2
		d.ended[way] /= 2
	}
	d.round = 0
}
