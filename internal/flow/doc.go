// Package flow is the flow control of a transfer: it limits how many calls run at once and in which
// direction, orders them, and retries them. It moves no bytes itself. It decides by the durations
// and the failures of calls and has no model of the link, the endpoint or the drive, because any of
// them may be the bottleneck, and the bottleneck may change during a transfer.
//
// A [Window] is the sliding window: it limits how many chunks are in flight. Too few leave a long
// link idle. Too many gain nothing, make each chunk slow, and cost more when a worker is killed.
// The window starts small, doubles while that moves more bytes a second, and holds the smallest
// limit that is as good as its double. It probes again from time to time, since links change. It
// backs off when the endpoint responds with 429, or when more calls fail than chunks are done.
// Limiters by latency mistake a full link for an overloaded one, and a transfer makes too few calls
// a second for their statistics.
//
// A [Duplex] keeps both directions of a link busy for jobs that write each chunk and read it back.
// Of the chunks in flight it lets a share be written at once, and the others be read back. The
// share is that of writing in the time of a chunk. Without it all chunks are written together and
// then read back together, and half of a full-duplex link is idle at any time.
//
// A [Sequencer] restores the order of operations that concurrent goroutines finish out of order. A
// target that is written in order, and the SHA-256 of a whole image, need chunk n before chunk n+1,
// but later chunks can be read and compressed meanwhile.
//
// A [Split] decides whether chunks are written in pieces, so that a slow link is busy in both
// directions from the first piece to the last.
//
// A [Retry] repeats an operation while its failures may be temporary, with exponential backoff. A
// [Breaker] is a circuit breaker: it holds back all calls to a busy drive except one.
package flow
