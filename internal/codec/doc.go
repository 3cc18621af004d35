// Package codec encodes chunks as gzip for the wire and decodes gzip streams.
//
// # Encoding
//
// A [Codec] encodes the chunks of one job. Zeros are sent as a gzip member that is compressed once
// for each length. With a fixed level all other chunks are gzip of that level. With
// transfer.CompressionAuto a [Selector] picks plain or gzip for each chunk, by the observed goodput
// of each encoding. A chunk picked for gzip is sampled first, and stays plain if the samples do not
// compress. The level depends on how much of the processors gzip leaves idle.
//
// The Selector goes through named phases: probe (a part of a chunk is sent plain to observe the
// link), estimate (gzip is not observed yet and is estimated from the goodput of plain), settled
// (one encoding for all chunks, while one chunk in N explores the other) and trial (the encoding
// has changed, and is changed back if all chunks together move less by the wall clock). The table
// is at type phase; its numbers and their reasons are in tuning.go.
//
// # The life of a Body
//
// A chunk may be encoded before it may be sent, so a [Body] has three events:
//
//   - Encode, at any time: the encoding is picked by the present observations, and the chunk is
//     sampled and compressed. It is not picked again. A gzip body's flow begins, because
//     compressing is part of the cost of gzip, but has no share of the wire yet.
//   - Sending, when the first byte goes to the wire: a plain body's flow begins. That includes a
//     chunk picked for gzip that does not compress. A gzip body's flow gets its share of the wire.
//   - Release, after the endpoint's response or when the body is given up: the flow ends. After
//     Arrived it is an observation of the encoding's goodput.
//
// The time that a gzip body waits to be sent is part of its flow, but so are all other gzip bodies
// that wait at the same time. Goodput is a flow's own rate times the mean number of flows during
// it, so compressing further ahead does not lower it.
//
// # Decoding
//
// A [Reader] decodes gzip streams of one or more members. It returns an error for a truncated
// stream.
package codec
