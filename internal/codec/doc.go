// Package codec is gzip both ways: it encodes chunks for the wire and decodes gzip streams.
//
// # Encoding
//
// A [Codec] encodes the chunks of one job. A chunk of zeros goes as a gzip member that is made once;
// of the others, samples tell those that do not compress, which go plain. With a fixed level that is
// all. With transfer.CompressionAuto a [Selector] picks plain or gzip for each chunk, by the goodput
// observed of each, and the level follows from how much of the processors gzip leaves idle.
//
// The Selector goes through named phases: probe (a part of a chunk goes plain to observe the link),
// estimate (gzip is not observed and is estimated from what plain moves), settled (one encoding for
// all chunks, while one in N explores the other) and trial (the encoding has changed, and the change
// is reverted unless all chunks together move no less by the wall clock). The table is at the type
// phase, its numbers and their reasons are in tuning.go.
//
// # Decoding
//
// A [Reader] reads gzip streams of one or more members and reports one that breaks off.
package codec
