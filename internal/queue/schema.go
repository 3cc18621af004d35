package queue

import "strings"

// Schema is what an embedded Redis must know of the queue's keys (embedded.Schema).
type Schema struct{}

// Durable reports whether a key must survive a restart. Leases and claims of drives need not, for workers renew them; nor do
// the index and asynq's keys, which maintenance makes again from the records.
func (Schema) Durable(key string) bool {
	return isRecordKey(strings.TrimSuffix(key, ":ledger")) || key == keyJobs || key == keySpecs || key == keyLeft
}

// Scripts is the sources of the scripts that change durable keys. A renewal is not among them, so
// the lapse in a replayed record is older than the last renewal. That does no harm: for a server in
// memory, which has no run_id, takeLease does not use the lapse.
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
