// Package transfer defines the terms of transferd: job, chunk, source, sink, checkpoint and error.
//
// A job copies an image from a [Source] to a [Sink], or compares the two, in chunks of a fixed
// size. A [Spec] is what the user requested, a [Job] what the user sees of it, and a [Checkpoint]
// what the next attempt needs to resume it. An [Error] says what was tried, what came back and what
// to do; its [Code] decides the exit status, the HTTP status and whether to retry.
//
// All other packages import this one, so it imports the standard library only. All offsets, sizes
// and lengths are in bytes.
package transfer
