// Package transport is what every HTTP call to another host runs through, be it to an endpoint of
// the API or for an image behind a URL: a pool of connections and a stack of http.RoundTrippers
// over it.
//
// Each layer is a type with a field Next, and wraps the bodies that pass: a request's body when the
// call begins, an answer's when its header has come. A client stacks those that it needs, once, in
// this order:
//
//	CloseWait        outermost: nothing below reads a request's buffer when the call is over, layers included
//	Limit            above Watchdog, for what it holds back is not the server's fault
//	Meter            below Limit: bytes count when they cross the wire, not when they are offered to the limit
//	Fence            of the job, so above what all jobs share; gives the connection its lease
//	Watchdog         sees only the time in which the network or the server is waited for
//	RTT              below whatever waits, so that it measures the network and the server alone
//	Pool             of New: connections, TLS with certs.Trust, bodies in pieces of 128 KiB
//
// A request's body is read from below: the Pool reads what Watchdog wrapped, which reads what
// Meter wrapped, which reads what Limit wrapped. An answer's body is read from above. So a wait in
// Limit is time within a Read of Watchdog's request body and time between two Reads of its answer's
// body, and neither runs its clock; the layers need not know each other.
//
// RTT and Watchdog have no state of a job, so all jobs with one endpoint share them. Limit,
// Meter and Fence belong to a job.
//
// Meanings says what a call that failed means: one table of statuses and one classifier of
// failures, with what a client differs in given as data.
//
// No layer copies a body, or allocates for a piece of one.
package transport
