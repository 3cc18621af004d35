// Package lease is a worker's proof that a job is still its own.
//
// An endpoint accepts a write from any client that has the password. It cannot refuse a worker that
// has lost its job, so the worker itself must stop sending. A queue grants a lease for a fixed time
// by its own clock. Each renewal proves to the worker that no other worker has the job for two
// thirds of that time, by the clock of the worker's host, from when the renewal was sent. The last
// third is the margin. Code that is about to change something checks the proof, and stops without
// it:
//
//	sent := l.Now() // before the renewal is sent
//	if err := renewAtTheQueue(); err == nil {
//		l.Renewed(sent)
//	}
//	...
//	if err := l.Check(); err != nil {
//		return err // ErrLapsed
//	}
//	send(piece)
//
// These places check it:
//
//	the engine            before each call to a target, and again when a call was cut
//	the client of the API when the call has got its slot
//	its connections       right before each system call that writes, of 64 KiB at the most
//	local targets         before each piece
//
// The clock is CLOCK_BOOTTIME, which keeps running while the host is suspended. Go's clock stops.
//
// What was sent before the proof lapsed may arrive later. If the previous worker did not release
// the job, and has not provably ended (Life), the worker that takes the job over waits until
// nothing can arrive any more (Late), and then reads back what was written before. A process that
// is stopped, as by SIGSTOP, cannot check anything; for it, another process resets the connections
// (Guard). docs/reliability.md derives the times and lists the transitions.
package lease
