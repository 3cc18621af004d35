// Package flow decides when the calls of a transfer are made: how many at once, in which direction,
// and in which order. It moves no bytes itself; goroutines that carry chunks ask it before they go
// on. What it decides follows from how long calls take and how they fail, not from a model of the
// link, the endpoint or the drive.
//
// A [Sequencer] puts back into order what concurrent goroutines finish out of order. A target that
// is written from front to back, and the SHA-256 of a whole image, need chunk n before chunk n+1,
// while the chunks after them can already be read and compressed.
package flow
