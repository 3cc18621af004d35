package queue

import "strings"

// Schema is what an embedded Redis must know of the queue's keys (embedded.Schema).
type Schema struct{}

// Durable reports whether a key must survive a restart. Leases and claims of drives need not, for workers renew them; nor do
// the index and asynq's keys, which maintenance makes again from the records.
func (Schema) Durable(key string) bool {
	return isRecordKey(strings.TrimSuffix(key, ":ledger")) || key == keyJobs || key == keySpecs || key == keyLeft
}

// Scripts is the sources of the scripts that change durable keys. A renewal is not among them: the
// lapse in a record comes out older, and in a replay later, but where it counts, of a worker that
// was killed with its Redis, nothing is made of it (takeLease takes a Redis that does not say which
// it is for one that was started again).
func (Schema) Scripts() []string {
	var sources []string
	for _, s := range []*script{
		moveScript, saveScript, forgetScript, reserveScript, unreserveScript, disownScript,
	} {
		sources = append(sources, s.source)
	}
	return sources
}

// Lease is the lease of the job that a script is about; empty: it is about none.
func (Schema) Lease(keys []string) string {
	if len(keys) == len(jobKeys("")) && isRecordKey(keys[0]) {
		return keys[2] // as in jobKeys
	}
	return ""
}
