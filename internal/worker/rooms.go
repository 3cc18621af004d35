package worker

import (
	"context"
	"math"
	"time"
)

// direction is one of the two ways of a link.
type direction int

const (
	writing direction = iota
	readingBack
)

// rooms is how a pace keeps both directions of a link busy. Chunks that are written together would be read back together,
// and so on, while one direction idles; so of those in flight only as many go one way at once as that way's share of the
// time is: half of them on a link, more writes where it is the drive that is slow to write.
type rooms struct {
	twoWay bool          // each chunk is written, and then read back by another call; if not, there is room for all
	calls  [2]int        // under way in each direction
	freed  chan struct{} // closed when one of them ends
	// Of calls in each direction, seconds spent and how many; those of the last round count half as much as of this one, and so on.
	spent, ended [2]float64
	share        float64 // of a chunk's time, that writing takes; from 0 to 1
}

func newRooms() rooms { return rooms{freed: make(chan struct{}), share: 0.5} }

// inTurn does op when there is room for it in its direction.
func (p *pace) inTurn(ctx context.Context, way direction, op func() error) error {
	if p == nil || !p.twoWay {
		return op()
	}
	if err := p.begin(ctx, way); err != nil {
		return err
	}
	defer p.end(way)
	return op()
}

func (p *pace) begin(ctx context.Context, way direction) error {
	for {
		p.mu.Lock()
		if p.calls[way] < p.room(way) {
			p.calls[way]++
			p.mu.Unlock()
			return nil
		}
		freed := p.freed
		p.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (p *pace) end(way direction) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls[way]--
	close(p.freed)
	p.freed = make(chan struct{})
}

// spend hears of a call that succeeded: how long it took counts, not how long a busy drive was waited for before.
func (p *pace) spend(way direction, took time.Duration) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spent[way] += took.Seconds()
	p.ended[way]++
}

// room is how many calls may be under way in a direction.
func (p *pace) room(way direction) int {
	share := p.share
	if way == readingBack {
		share = 1 - share
	}
	return max(1, int(math.Round(float64(p.limit)*share)))
}

// divide gives each direction its share anew, by what a call takes: more have been written than read back when a job begins.
func (r *rooms) divide() {
	if r.ended[writing] > 0 && r.ended[readingBack] > 0 {
		write, read := r.spent[writing]/r.ended[writing], r.spent[readingBack]/r.ended[readingBack]
		if write+read > 0 {
			r.share = write / (write + read)
		}
	}
	for way := range r.spent {
		r.spent[way] /= 2
		r.ended[way] /= 2
	}
}
