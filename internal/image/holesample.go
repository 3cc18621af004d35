package image

import (
	"bytes"
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// Some file systems have reported data that was not on the disk yet as a hole. So samples of the
// holes are read before any hole is skipped: in one hole of 4 GiB one sample in each 8 MiB, which
// takes 14 ms on a busy core. All samples together read at most 8 MiB (75 ms) and take at most a
// second.
const (
	holeSampleSize   = 4 << 10 // bytes
	maxHoleSamples   = 2048    // in all holes together
	samplesPerHole   = 512     // at most
	maxSampledHoles  = 256     // chosen at random if there are more
	holeSamplingTime = time.Second
)

// holes is the result of sampling the holes that the file system reports. It is safe for concurrent
// use.
type holes struct {
	mu          sync.Mutex
	sampled     bool
	misreported bool
}

// holesAreMisreported reports whether a sample of a hole has other bytes than zeros. It reads the
// samples once.
func (s *File) holesAreMisreported(ctx context.Context) (bool, error) {
	s.holes.mu.Lock()
	defer s.holes.mu.Unlock()
	if s.holes.sampled {
		return s.holes.misreported, nil
	}
	found, err := s.pickHoles(ctx)
	if err != nil {
		return false, err
	}
	s.holes.sampled, s.holes.misreported = true, s.haveData(found)
	return s.holes.misreported, nil
}

// pickHoles returns the holes of the file or, if there are more than maxSampledHoles, a uniform
// random choice of them.
func (s *File) pickHoles(ctx context.Context) (picked []transfer.Extent, err error) {
	end, seen := int64(0), 0
	pick := func(hole transfer.Extent) {
		if seen++; hole.Len <= 0 {
			return
		}
		if len(picked) < maxSampledHoles {
			picked = append(picked, hole)
		} else if k := rand.IntN(seen); k < maxSampledHoles {
			picked[k] = hole
		}
	}
	for e, err := range s.dataExtents(ctx) {
		if err != nil {
			return nil, err
		}
		pick(transfer.Extent{Off: end, Len: e.Off - end})
		end = e.Off + e.Len
	}
	pick(transfer.Extent{Off: end, Len: s.size - end})
	return picked, nil
}

// haveData reports whether a sample of the holes has other bytes than zeros. It ignores read
// errors, because the copy reports them.
func (s *File) haveData(holes []transfer.Extent) (found bool) {
	if len(holes) == 0 {
		return false
	}
	most := min(samplesPerHole, maxHoleSamples/int64(len(holes)))
	buf, until := make([]byte, holeSampleSize), time.Now().Add(holeSamplingTime)
	for _, h := range holes {
		count := min(most, (h.Len+holeSampleSize-1)/holeSampleSize)
		for i := range count {
			n, _ := s.f.ReadAt(buf[:min(holeSampleSize, h.Len)], h.Off+holeSampleAt(i, count, h.Len))
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

// holeSampleAt is the offset of sample i of count in a hole of size bytes. The first and the last
// sample are at its ends, where partition tables are. Each other one is at a random offset within
// its share of the rest.
func holeSampleAt(i, count, size int64) int64 {
	last := max(0, size-holeSampleSize)
	switch i {
	case 0:
		return 0
	case count - 1:
		return last
	}
	share := last / (count - 1)
	return min(last, i*share+rand.Int64N(share+1))
}
