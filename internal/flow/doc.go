// Package flow decides when the calls of a transfer are made: how many at once, in which direction,
// and in which order. It moves no bytes itself; the goroutines that carry chunks ask it before they
// go on. It decides by what it observes, how long calls take and how they fail, and has no model of
// the link, the endpoint or the drive: any of them may be the bottleneck, and it may change within
// one transfer.
//
// A [Window] limits how many chunks are in flight. Too few leave a long link idle; too many make each
// chunk slow, gain nothing, and cost more when a worker is killed. The window begins low, doubles
// while that moves more bytes a second, and holds the smallest number that is as good as its double.
// From time to time it climbs again, for links change. When the endpoint answers 429, or more calls
// fail than chunks are done, it backs off. Limiters by latency take a link that is full for one that
// is overloaded, and a transfer makes too few calls a second for their statistics.
//
// A [Duplex] keeps both directions of a link busy for jobs that write each chunk and read it back.
// Of the chunks in flight it lets as many be written at once as is the share of writing in the time
// of a chunk, and the others be read back. Without it all chunks are written together and then read
// back together, and half of a full-duplex link is idle at any time.
//
// A [Sequencer] puts back into order what concurrent goroutines finish out of order. A target that
// is written from front to back, and the SHA-256 of a whole image, need chunk n before chunk n+1,
// while the chunks after them can already be read and compressed.
//
// A [Split] decides whether chunks are written in pieces, so that a slow link is busy in both
// directions from the first piece to the last.
//
// A [Retry] calls an operation again for as long as its failures may pass, and a [Breaker] holds
// all calls to a busy drive back but one.
package flow
