package codec

import "time"

// tuning is every number the selector goes by, with its unit and the reason for its value. The
// measurements behind them are in docs/performance.md ("The choices that are made while a job runs").
var tuning = struct {
	probeSize      int           // bytes of a chunk that go plain and first, as a probe
	probeWait      time.Duration // that a pick waits for a probe in flight, at most
	recheckSize    int           // bytes of the second probe
	minSample      int           // bytes; what is shorter is not observed
	slowStartTrips time.Duration // round trips, as a factor of the round-trip time
	maxDoubt       time.Duration // factor; the most a probe's rate is corrected for the round-trip time

	coldTime       time.Duration // that plain must have been observed before gzip is estimated from it
	headroom       float64       // factor; processors ÷ estimate, from which all chunks go by the estimate
	estimateMargin float64       // factor; gzip may move that much more than estimated

	gzipGain  float64 // factor; gzip ÷ plain, above which gzip is better
	plainGain float64 // factor; plain ÷ gzip, above which plain is better

	ewmaBytes     int     // bytes that the mean goodput reaches back
	busyGain      float64 // weight of the latest gzip chunk in the mean of busy
	exploreEvery  int     // picks between two that explore, at first
	exploreEarly  int     // the same while the other encoding looks better
	exploreWeight float64 // least weight of a sample of the encoding that is not current
	exploreGrowth int     // factor of exploreEvery after each chunk that explored
	hopeless      float64 // factor; other ÷ current, below which the other is not explored
	busyHigh      float64 // share of a gzip chunk's time, above which plain is explored though hopeless

	clockSize    int // bytes of all chunks together for one wall-clock rate
	revertGrowth int // factor of exploreEvery after a trial that failed
}{
	// 0.4 s at 10 Mbit/s, where a whole chunk takes 3.4 s; 4 ms at 1 Gbit/s, which tells that from 100 Mbit/s.
	probeSize: 512 << 10,
	// A cold start on loopback took more than 20 ms, and the first chunks were compressed for nothing.
	probeWait: 50 * time.Millisecond,
	// At 1 Gbit/s and 20 ms slow start is most of what 512 KiB take; the connection's window has grown by
	// then, and it is the lesser part of what 2 MiB take.
	recheckSize: 2 << 20,
	// The time of fewer bytes is the round trip's, not the link's.
	minSample: 128 << 10,
	// 512 KiB after an idle time: ten segments (RFC 6928), doubled each round trip (RFC 5681).
	slowStartTrips: 5,
	// The lowest sample of the round-trip time has the endpoint's own time in it and may be too long.
	maxDoubt: 32,

	// A few milliseconds say nothing of a link that may have been cold. A probe takes 21 ms at 200
	// Mbit/s: with 20 ms, chunks were sent plain there whenever the measured round-trip time was a
	// little too long.
	coldTime: 15 * time.Millisecond,
	// With less, one chunk explores gzip first: at 1 Gbit/s all were compressed for nothing (8% of 1 GiB).
	headroom: 4,
	// File systems' data shrink to between a half and a seventh; only the level depends on this.
	estimateMargin: 2,

	// Gzip takes processors at both ends, also from chunks of the other direction, which an exploring
	// chunk does not show: at 1 Gbit/s on two cores uploads took 14% longer than plain, and take 1%
	// longer with this gain and the wall clock's verdict.
	gzipGain:  1.5,
	plainGain: 0.9,

	// Eight whole chunks: enough to smooth, few enough to follow a link that changes.
	ewmaBytes: 32 << 20,
	busyGain:  1.0 / 8,
	// An exploring chunk that takes twice as long costs 3% of 32; growth makes that vanish.
	exploreEvery:  32,
	exploreEarly:  8,
	exploreWeight: 0.5, // as much as all earlier ones together, which are old
	exploreGrowth: 2,
	hopeless:      0.5,
	busyHigh:      0.5,

	// 16 whole chunks: half a second at 1 Gbit/s, and as many as are in flight.
	clockSize: 64 << 20,
	// An encoding that looked better to single chunks and was not will look so again.
	revertGrowth: 4,
}
