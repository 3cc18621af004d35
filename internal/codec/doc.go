// Package codec is gzip both ways: it encodes chunks for the wire and decodes gzip streams.
//
// # Encoding
//
// A [Codec] encodes the chunks of one job. Zeros go as a gzip member that is made once for each length.
// With a fixed level all other chunks go as gzip of that level. With transfer.CompressionAuto a
// [Selector] picks plain or gzip for each chunk, by the goodput observed of each; samples of a chunk
// that is to go as gzip tell whether it compresses, and if not it goes plain; and the level follows from
// how much of the processors gzip leaves idle.
//
// The Selector goes through named phases: probe (a part of a chunk goes plain to observe the link),
// estimate (gzip is not observed and is estimated from what plain moves), settled (one encoding for
// all chunks, while one in N explores the other) and trial (the encoding has changed, and the change
// is reverted unless all chunks together move no less by the wall clock). The table is at the type
// phase, its numbers and their reasons are in tuning.go.
//
// # The life of a Body
//
// A chunk may be encoded before its turn to be sent, so a [Body] has three moments:
//
//   - Encode, at any time: the encoding is picked, by what is known then, the chunk is sampled and
//     compressed at the level that is right then. It is not picked again. A gzip body's flow begins,
//     since compressing is part of what gzip costs, but takes no share of the wire.
//   - Sending, as the first byte goes to the wire: a plain body's flow begins, also that of a chunk
//     that was to go as gzip and does not compress; a gzip body's flow takes its share of the wire
//     from now on.
//   - Release, when the endpoint has answered or the body is given up, sent or not: the flow ends.
//     After Arrived it is an observation of the encoding's goodput.
//
// The time that a gzip body waits for its turn is in its flow, and so are all gzip bodies that wait at
// the same time. Goodput is a flow's own rate times the mean number of flows during it, so bodies that
// are compressed further ahead move no less.
//
// # Decoding
//
// A [Reader] reads gzip streams of one or more members and reports one that breaks off.
package codec
