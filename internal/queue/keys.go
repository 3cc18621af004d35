package queue

import "strings"

const (
	keyJobs    = "td:jobs"
	keySpecs   = "td:specs" // the last job of each spec, by its fingerprint
	keyLeft    = "td:left"  // pruned jobs that left an incomplete drive
	keyLeader  = "td:leader"
	keyWorkers = "td:workers"

	keyBatches     = "td:batches"      // all batches by creation
	keyOpenBatches = "td:batches:open" // batches that may have items to enqueue, by when that is checked
	keyPlans       = "td:plans"        // the last batch of each plan, by its fingerprint
	keyItems       = "td:items"        // the last job of each item of batches, by the item's key
)

func recordKey(id string) string { return "td:{" + id + "}" }
func isRecordKey(key string) bool {
	return strings.HasPrefix(key, "td:{") && strings.HasSuffix(key, "}")
}
func ledgerKey(id string) string { return recordKey(id) + ":ledger" }
func leaseKey(id string) string  { return recordKey(id) + ":lease" }
func eventsKey(id string) string { return recordKey(id) + ":events" }

// driveKeys is the keys of a drive's claims: its writer, its readers, and the mark of its last
// writer. claim is one of a transfer.Claim's Keys.
func driveKeys(claim string) []string {
	key := "td:drive:{" + claim + "}"
	return []string{key + ":writer", key + ":readers", key + ":mark"}
}

// batchKeys is the KEYS of every script on a batch: its record, its items by their numbers, and the
// outcomes of its jobs that were pruned, by job.
func batchKeys(id string) []string {
	key := "td:batch:{" + id + "}"
	return []string{key, key + ":items", key + ":ended"}
}

func isBatchKey(key string) bool { return strings.HasPrefix(key, "td:batch:{") }

func workerKey(name string) string { return "td:worker:" + name }

// jobKeys is the KEYS of every script on a job, in this order.
func jobKeys(id string) []string {
	return []string{recordKey(id), ledgerKey(id), leaseKey(id), eventsKey(id)}
}
