package queue

import "strings"

// Schema describes the queue's keys to an embedded Redis (embedded.Schema).
type Schema struct{}

// Durable reports whether a key must survive a restart. Leases and claims need not, because workers
// renew them. The index and asynq's keys need not, because maintenance restores them from the
// records.
func (Schema) Durable(key string) bool {
	switch key {
	case keyJobs, keySpecs, keyLeft, keyBatches, keyPlans, keyItems:
		return true
	}
	return isRecordKey(strings.TrimSuffix(key, ":ledger")) || isBatchKey(key)
}

// Scripts is the sources of the scripts that change durable keys. A renewal is not among them, so
// the lapse in a replayed record is older than the last renewal. That does no harm: for a server in
// memory, which has no run_id, grantLease does not use the lapse.
func (Schema) Scripts() []string {
	var sources []string
	for _, s := range []*script{
		moveScript, saveScript, deleteScript, reserveScript, unreserveScript, disownScript,
		batchMoveScript, batchItemsScript, batchCursorScript, batchOutcomeScript, batchDeleteScript, reserveItemsScript,
	} {
		sources = append(sources, s.source)
	}
	return sources
}

// Lease is the lease of the job that a script works on; empty: it works on none.
func (Schema) Lease(keys []string) string {
	if len(keys) == len(jobKeys("")) && isRecordKey(keys[0]) {
		return keys[2] // as in jobKeys
	}
	return ""
}
