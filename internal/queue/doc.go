// Package queue keeps jobs in Redis and delivers them to workers by asynq.
//
// The job record is the truth, the asynq task only a trigger. The state of a job changes only by compare-and-set scripts (the
// table in moves.go), a worker that is woken looks at the record first, and maintenance makes lost triggers again. So no job is
// lost if asynq loses a task, and none runs twice if it delivers one twice.
//
// A worker owns a job by a lease, renewed each second, and by the job's epoch, a fencing token: taking a job up raises it, and
// whatever an owner with an older one writes is refused. One transferd at a time leads maintenance (leader.go): services that
// look for lost owners, deadlines and lost triggers, each in a sorted set by when a job is looked at next (index.go).
//
// The keys of a job hash to one cluster slot:
//
//	td:{ID}          hash: spec, state, epoch, attempts, crashes, farthest (the ledger's bytes when crashes was last set
//	                 to 0), worker, cancel, created, started, finished, due, plan, progress, error (times in Unix
//	                 milliseconds; spec, plan, progress and error as JSON)
//	td:{ID}:ledger   string: packed entries of the chunks that are done, appended to
//	td:{ID}:lease    string with a time to live: the worker that owns the job
//	td:{ID}:events   stream: an entry for each change of the record
//
// Those of a drive are the claims of jobs on it, and hash to one slot too. CLAIM is each of
// transfer.Claim's Keys, so that a drive has several:
//
//	td:drive:{CLAIM}:writer   string with a time to live: the job that writes it
//	td:drive:{CLAIM}:readers  sorted set with a time to live: the jobs that read it, by when their
//	                          claims lapse
//	td:drive:{CLAIM}:mark     string with a time to live: the mark of the last claim for writing
//
// The others:
//
//	td:jobs                  sorted set: all jobs by creation
//	td:queued, td:running,   sorted sets: jobs that have not ended, by when maintenance looks at them
//	td:deadlines
//	td:specs                 hash: the last job of each spec, by the spec's fingerprint
//	td:left                  set: pruned jobs that left a drive
//	td:workers               set: names of workers; td:worker:NAME, with a time to live, describes each
//	td:leader                string with a time to live: the worker that leads maintenance
package queue
