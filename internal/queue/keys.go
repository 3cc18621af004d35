package queue

import "strings"

const (
	keyJobs    = "td:jobs"
	keySpecs   = "td:specs" // the last job of each spec, by its fingerprint
	keyLeft    = "td:left"  // pruned jobs that left an incomplete drive
	keyLeader  = "td:leader"
	keyWorkers = "td:workers"
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

func workerKey(name string) string { return "td:worker:" + name }

// jobKeys is the KEYS of every script on a job, in this order.
func jobKeys(id string) []string {
	return []string{recordKey(id), ledgerKey(id), leaseKey(id), eventsKey(id)}
}
