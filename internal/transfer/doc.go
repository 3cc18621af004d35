// Package transfer is the vocabulary of transferd: what a job, a chunk, a source, a sink and an error are.
//
// Every other package speaks in these terms, so this one imports the standard library only. All offsets, sizes and
// lengths are bytes.
package transfer
