// Package queue keeps jobs in Redis and hands them to workers through asynq.
//
// The job record is the truth, the asynq task only a trigger: every state move is a compare-and-set script on the record,
// handlers look at the record first, and a reconciler makes triggers anew where they are missing. So nothing is lost if
// asynq loses a task, and nothing runs twice if it delivers one twice.
//
// The keys of a job hash to one cluster slot:
//
//	td:{ID}          hash: spec, state, epoch, attempts, crashes, farthest (the ledger's bytes when crashes was last set
//	                 back), worker, cancel, created, started, finished, due, plan, progress, error (times in Unix
//	                 milliseconds; spec, plan, progress and error as JSON)
//	td:{ID}:ledger   string: packed entries of the chunks that are done, appended to
//	td:{ID}:lease    string with a time to live: the worker that owns the job
//	td:{ID}:events   stream: an entry whenever the record has changed
//
// Those of a drive are the claims of jobs on it, and hash to one slot too:
//
//	td:drive:{ENDPOINT:UUID}:writer   string with a time to live: the job that writes it
//	td:drive:{ENDPOINT:UUID}:readers  sorted set with a time to live: the jobs that read it, by when their claims lapse
//	td:drive:{ENDPOINT:UUID}:mark     string with a time to live: the mark of who claimed it for writing last
//
// Beside them: td:jobs (sorted set, all jobs by creation), td:active (set, jobs that may not have ended), td:specs (hash,
// the last job of each spec by the spec's fingerprint), td:worker:NAME and td:workers (who is there), td:leader (who
// reconciles).
package queue
