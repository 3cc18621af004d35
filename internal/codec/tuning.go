package codec

import "time"

// tuning has all constants of the selector, with their units and the reasons for their values. The
// measurements are in docs/performance.md ("The choices that are made while a job runs").
var tuning = struct {
	probeSize      int           // bytes at the start of a chunk that are sent plain as a probe
	probeWait      time.Duration // the longest that a pick waits for a probe in flight
	recheckSize    int           // bytes of the second probe
	minSample      int           // bytes; shorter flows are not observed
	slowStartTrips time.Duration // round trips, as a factor of the round-trip time
	maxDoubt       time.Duration // factor; the largest correction of a probe's rate for the round-trip time

	coldTime       time.Duration // that plain must have been observed before gzip is estimated from it
	headroom       float64       // factor; processors ÷ estimate above which gzip is picked for all chunks
	estimateMargin float64       // factor; the goodput of gzip may exceed the estimate by this much

	gzipGain  float64 // factor; gzip ÷ plain, above which gzip is better
	plainGain float64 // factor; plain ÷ gzip, above which plain is better

	ewmaBytes     int     // bytes over which goodput is averaged
	busyGain      float64 // weight of the latest gzip chunk in the mean of busy
	exploreEvery  int     // picks between two explorations, at first
	exploreEarly  int     // the same while the other encoding looks better
	exploreWeight float64 // least weight of a sample of the encoding that is not current
	exploreGrowth int     // factor of exploreEvery after each exploration
	hopeless      float64 // factor; other ÷ current, below which the other is not explored
	busyHigh      float64 // share of a gzip chunk's time; above it, plain is explored though hopeless

	clockSize    int // bytes of all chunks together for one wall-clock rate
	revertGrowth int // factor of exploreEvery after a trial that failed
}{
	// 0.4 s at 10 Mbit/s, where a whole chunk takes 3.4 s; 4 ms at 1 Gbit/s, enough to distinguish
	// it from 100 Mbit/s.
	probeSize: 512 << 10,
	// A cold start on loopback took more than 20 ms; with less, the first chunks were compressed in
	// vain.
	probeWait: 50 * time.Millisecond,
	// At 1 Gbit/s and 20 ms, slow start is most of the time of 512 KiB. The congestion window grows
	// meanwhile, so slow start is the smaller part of the time of 2 MiB.
	recheckSize: 2 << 20,
	// Fewer bytes measure the round-trip time, not the link's rate.
	minSample: 128 << 10,
	// 512 KiB after an idle time: ten segments (RFC 6928), doubled each round trip (RFC 5681).
	slowStartTrips: 5,
	// The lowest observed round-trip time includes the endpoint's own time and may be too long.
	maxDoubt: 32,

	// A few milliseconds on a cold connection do not measure the link. A probe takes 21 ms at 200
	// Mbit/s: with 20 ms, chunks were sent plain there whenever the measured round-trip time was a
	// little too long.
	coldTime: 15 * time.Millisecond,
	// Below this, a single chunk explores gzip first: with a lower factor all chunks were
	// compressed in vain at 1 Gbit/s (8% of 1 GiB).
	headroom: 4,
	// File systems' data shrink to between a half and a seventh; only the level depends on this.
	estimateMargin: 2,

	// Gzip uses the processors at both ends and so slows chunks in the other direction, which an
	// exploring chunk does not show. At 1 Gbit/s on two cores uploads took 14% longer than plain;
	// with this gain and the trial by the wall clock they take 1% longer.
	gzipGain:  1.5,
	plainGain: 0.9,

	// Eight whole chunks: enough for a smooth mean, few enough to follow a changing link.
	ewmaBytes: 32 << 20,
	busyGain:  1.0 / 8,
	// An exploring chunk that takes twice as long costs 3% of 32 chunks, and less as the interval
	// grows.
	exploreEvery:  32,
	exploreEarly:  8,
	exploreWeight: 0.5, // as much as all earlier samples together, which are old
	exploreGrowth: 2,
	hopeless:      0.5,
	busyHigh:      0.5,

	// 16 whole chunks: half a second at 1 Gbit/s, and as many as are in flight.
	clockSize: 64 << 20,
	// An encoding that looked better in single chunks and was worse will look better again.
	revertGrowth: 4,
}
