// Package transport is the HTTP stack of all calls to other hosts, both to endpoints of the API and
// for images behind URLs: a pool of connections, and a stack of http.RoundTrippers over it.
//
// Each layer is a type with a field Next. It wraps the request's body when the call begins, and the
// response's body when the header has arrived. A client stacks the layers that it needs, once, in
// this order:
//
//	CloseWait        outermost: after the call, no layer below reads the request's buffer
//	Limit            above Watchdog: a wait for the limit does not count as a stall of the server
//	Meter            below Limit: bytes count when they cross the wire, not when they wait
//	Fence            above what all jobs share; gives the connection the job's lease
//	Watchdog         measures only the time that the call waits for the network or the server
//	RTT              below all layers that wait, so it measures the network and the server alone
//	Pool             made by New: connections, TLS with certs.Trust, bodies in pieces of 128 KiB
//
// The layers below read a request's body: the Pool reads the body of Watchdog, which reads that of
// Meter, which reads that of Limit. The caller reads a response's body from above. So a wait in
// Limit falls into a Read of Watchdog's request body, or between two Reads of its response body.
// Watchdog's clock runs in neither, and the layers are independent of each other.
//
// RTT and Watchdog have no state of a job, so all jobs with one endpoint share them. Limit, Meter
// and Fence belong to a job.
//
// Meanings maps failed calls to errors: one table of statuses and one classifier of failures. What
// differs between clients is data.
//
// No layer copies a body, and none allocates memory for each piece of one.
package transport
