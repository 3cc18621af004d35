package image

import (
	"bytes"
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// Some file systems have reported data as a hole that was not on the disk yet. So probes are read
// from the holes before any hole is left out: in one hole of 4 GiB one probe in each 8 MiB, which
// takes 14 ms on a busy core. All probes together read at most 8 MiB (75 ms) and take at most a
// second.
const (
	holeProbe     = 4 << 10 // bytes per probe
	mostProbes    = 2048    // of all holes together
	probesPerHole = 512     // at most
	probedHoles   = 256     // picked at random if there are more
	probingTime   = time.Second
)

// holes is the result of probing what the file system reports as holes. It is safe for concurrent
// use.
type holes struct {
	mu     sync.Mutex
	probed bool
	untrue bool
}

// holesHaveData reports whether a probe found anything but zeros in a hole. It probes once.
func (s *File) holesHaveData(ctx context.Context) (bool, error) {
	s.holes.mu.Lock()
	defer s.holes.mu.Unlock()
	if s.holes.probed {
		return s.holes.untrue, nil
	}
	found, err := s.someHoles(ctx)
	if err != nil {
		return false, err
	}
	s.holes.probed, s.holes.untrue = true, s.probe(found)
	return s.holes.untrue, nil
}

// someHoles is the holes of the file or, if there are more than probedHoles, a uniform sample of
// them.
func (s *File) someHoles(ctx context.Context) (picked []transfer.Extent, err error) {
	end, seen := int64(0), 0
	pick := func(hole transfer.Extent) {
		if seen++; hole.Len <= 0 {
			return
		}
		if len(picked) < probedHoles {
			picked = append(picked, hole)
		} else if k := rand.IntN(seen); k < probedHoles {
			picked[k] = hole
		}
	}
	for e, err := range s.stored(ctx) {
		if err != nil {
			return nil, err
		}
		pick(transfer.Extent{Off: end, Len: e.Off - end})
		end = e.Off + e.Len
	}
	pick(transfer.Extent{Off: end, Len: s.size - end})
	return picked, nil
}

// probe reports whether it finds anything but zeros in the holes. It ignores read errors: the copy
// reports them.
func (s *File) probe(holes []transfer.Extent) (found bool) {
	if len(holes) == 0 {
		return false
	}
	most := min(probesPerHole, mostProbes/int64(len(holes)))
	buf, until := make([]byte, holeProbe), time.Now().Add(probingTime)
	for _, h := range holes {
		count := min(most, (h.Len+holeProbe-1)/holeProbe)
		for i := range count {
			n, _ := s.f.ReadAt(buf[:min(holeProbe, h.Len)], h.Off+probeAt(i, count, h.Len))
			if len(bytes.TrimLeft(buf[:n], "\x00")) > 0 {
				return true
			}
		}
		if time.Now().After(until) {
			break
		}
	}
	return false
}

// probeAt is the offset of probe i of count in a hole of size bytes: the first and the last are at
// its ends, where partition tables are; each other one is random within its share of the rest.
func probeAt(i, count, size int64) int64 {
	last := max(0, size-holeProbe)
	switch i {
	case 0:
		return 0
	case count - 1:
		return last
	}
	share := last / (count - 1)
	return min(last, i*share+rand.Int64N(share+1))
}
