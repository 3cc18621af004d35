// Package queue keeps jobs in Redis and delivers them to workers by asynq.
//
// The record of a job in Redis decides, and the asynq task is only a trigger. Only compare-and-set
// scripts change the state of a job (the table in moves.go). A worker that gets a trigger reads the
// record first, and maintenance replaces lost triggers. So no job is lost if asynq loses a task,
// and none runs twice if asynq delivers a task twice.
//
// A worker owns a job by a lease, which it renews each second, and by two fencing tokens: the job's
// epoch, which each new owner raises, and a random token of the attempt (fencing.go). The scripts
// refuse what an earlier owner writes. One transferd at a time leads maintenance (leader.go):
// services that look for lost owners, passed deadlines and lost triggers. Each service reads a
// sorted set of jobs, by when it checks them next (index.go).
//
// The keys of a job hash to one cluster slot:
//
//	td:{ID}          hash: spec, state, epoch, attempts, crashes, farthest (the bytes of the
//	                 ledger, or those done by the parts of the job, when crashes was last set to
//	                 0), worker, cancel, created, started, finished, due, plan, progress, error
//	                 (times in Unix milliseconds; spec, plan, progress and error as JSON), and the
//	                 fields of the owner (fencing.go)
//	td:{ID}:ledger   string: packed entries of the chunks that are done; it grows by APPEND
//	td:{ID}:lease    string with a time to live: the token of the attempt that owns the job
//	td:{ID}:events   stream: an entry for each change of the record
//
// The keys of a drive are the claims of jobs on it, and hash to one slot too. CLAIM is one of the
// Keys of a transfer.Claim; a drive has several:
//
//	td:drive:{CLAIM}:writer   string with a time to live: the job that writes it
//	td:drive:{CLAIM}:readers  sorted set with a time to live: the jobs that read it, by when their
//	                          claims lapse
//	td:drive:{CLAIM}:mark     string with a time to live: the mark of the last claim for writing
//
// The keys of a batch hash to one slot, and its items name its jobs:
//
//	td:batch:{ID}         hash: state (open, paused or canceled), plan, fingerprint, created,
//	                      items (their number), enqueued (how many are), final (its result)
//	td:batch:{ID}:items   hash: the items by their numbers, as JSON
//	td:batch:{ID}:ended   hash: the outcomes of its jobs that were pruned
//
// The others:
//
//	td:jobs                  sorted set: all jobs by creation
//	td:queued, td:running,   sorted sets: jobs that have not ended, by when maintenance checks them
//	td:deadlines
//	td:specs                 hash: the last job of each spec, by the spec's fingerprint
//	td:batches               sorted set: all batches by creation
//	td:batches:open          sorted set: batches that may have items to enqueue
//	td:plans, td:items       hashes: the last batch of each plan, the last job of each item
//	td:inspect:QUEUE         list: requests to look at files; td:inspected:ID the answers to one
//	td:left                  set: pruned jobs that left an incomplete drive
//	td:workers               set: names of workers; td:worker:NAME, with a time to live, describes each
//	td:leader                string with a time to live: the worker that leads maintenance
package queue
