// Package lease is a worker's proof that a job is still its own.
//
// An endpoint takes a write from whoever has the password, so nothing there can refuse a worker
// that has lost its job: the worker itself must not send. A queue grants a lease for a while, by
// its own clock; each renewal proves to the worker that nobody else has the job for two thirds of
// that, by a clock of the worker's host, from when the renewal was sent. The last third is the
// margin. Whoever is about to change something asks for the proof, and stops without it:
//
//	the engine            before each call to a target, and again when a call was cut
//	the client of the API when the call has got its slot
//	its connections       right before each system call that writes, of 64 KiB at the most
//	local targets         before each piece
//
// The clock is CLOCK_BOOTTIME, which runs on while the host is suspended; Go's own does not.
//
// What was sent before the proof lapsed may arrive later. A worker that takes a job over from one
// that did not hand over, and that cannot be shown to have ended (Life), waits until nothing can
// arrive any more (Await with Late), and reads back what was written before that.
// docs/reliability.md derives the times and lists the transitions.
package lease
