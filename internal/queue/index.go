package queue

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/transferd/transferd/internal/transfer"
)

// The index is sorted sets of the jobs that have not ended. The score is when a service of
// maintenance checks the job next, in ms by Redis' clock. A tick reads only entries that are due.
//
// The index is in other cluster slots than the records, so no script can change both. An entry
// therefore means no more than "check this job then". Only Enqueue and Retry add jobs. From then on
// a job is always in the set of queued or of running jobs, though not always in the one of its
// state: the service that checks it moves it, at most one lease later. A service changes an entry
// only if it still has the score that the service read, so it drops no job that was retried
// meanwhile. reindex restores lost entries from the records.
const (
	keyQueued    = "td:queued"    // by when the trigger is checked
	keyRunning   = "td:running"   // by when the lease may lapse, never later
	keyDeadlines = "td:deadlines" // by deadline, or when it is checked again
)

// timeInMs sets the Lua variable now to the time by Redis' clock.
const timeInMs = redisTime + `
local now = redisTime()
`

var (
	// schedule makes jobs due. KEYS: a set. ARGV: in how many ms, jobs.
	scheduleScript = newScript(timeInMs + `
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[i]) end
return 'ok'
`)

	// due answers the jobs that are due, with their scores. KEYS: a set. ARGV: how many at most.
	dueScript = newScript(timeInMs + `
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'WITHSCORES', 'LIMIT', 0, ARGV[1])
`)

	// reschedule changes the entries that still have the score that was read. KEYS: a set. ARGV:
	// for each job its ID, that score, and in how many ms it is due again, or empty to drop it. It
	// deletes first, because a full Redis refuses ZADD otherwise.
	rescheduleScript = newScript(timeInMs + `
for i = 1, #ARGV, 3 do
  local score = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if score and tonumber(score) == tonumber(ARGV[i + 1]) then
    redis.call('ZREM', KEYS[1], ARGV[i])
    if ARGV[i + 2] ~= '' then redis.call('ZADD', KEYS[1], now + ARGV[i + 2], ARGV[i]) end
  end
end
return 'ok'
`)
)

// entry is a job in a set that is due.
type entry struct {
	id    string
	score string
	next  time.Duration // after how long it is due again; 0: it leaves the set
}

// dueEntries returns a page of the jobs in a set that are due.
func (c *Client) dueEntries(ctx context.Context, set string) ([]entry, error) {
	list, err := dueScript.Run(ctx, c.rdb, []string{set}, pageSize).StringSlice()
	if err != nil {
		return nil, failed("list jobs that are due", err)
	}
	var entries []entry
	for pair := range slices.Chunk(list, 2) {
		entries = append(entries, entry{id: pair[0], score: pair[1]})
	}
	return entries, nil
}

// schedule makes jobs of a set due after the given time.
func (c *Client) schedule(ctx context.Context, set string, after time.Duration, ids ...string) error {
	if len(ids) == 0 {
		return nil
	}
	args := []any{after.Milliseconds()}
	for _, id := range ids {
		args = append(args, id)
	}
	return failed("index jobs", scheduleScript.Run(ctx, c.rdb, []string{set}, args...).Err())
}

// reschedule makes entries of a set due again after their next.
func (c *Client) reschedule(ctx context.Context, set string, entries []entry) error {
	var args []any
	for _, e := range entries {
		next := ""
		if e.next > 0 {
			next = strconv.FormatInt(max(1, e.next.Milliseconds()), 10)
		}
		args = append(args, e.id, e.score, next)
	}
	return failed("index jobs", rescheduleScript.Run(ctx, c.rdb, []string{set}, args...).Err())
}

// addToIndex adds a job before its record is written: maintenance drops an entry without a record,
// but never finds a record without an entry. With a fingerprint the job becomes the last one of its
// spec in the same round trip.
func (c *Client) addToIndex(ctx context.Context, r *record, fingerprint string) error {
	return failed("index the job", c.pipelined(ctx, func(p pipeline) {
		if fingerprint != "" {
			p.run(reserveScript, []string{keySpecs}, fingerprint, anyJob, r.id)
		}
		p.ZAdd(ctx, keyJobs, redis.Z{Score: float64(r.created.UnixMilli()), Member: r.id})
		p.run(scheduleScript, []string{keyQueued}, pickupTimeout.Milliseconds(), r.id)
		if r.due != nil {
			p.ZAdd(ctx, keyDeadlines, redis.Z{Score: float64(r.due.UnixMilli()), Member: r.id})
		}
	}))
}

// removeFromIndex removes jobs that have been deleted.
func (c *Client) removeFromIndex(ctx context.Context, ids []string) error {
	_, err := c.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, set := range []string{keyJobs, keyQueued, keyRunning, keyDeadlines} {
			p.ZRem(ctx, set, ids)
		}
		return nil
	})
	return failed("delete jobs", err)
}

// status is what most services need of a job.
type status struct {
	id, worker string
	state      transfer.State // none: there is no such job; unreadableState: it cannot be read
	due        *time.Time
	now        time.Time     // when it was read, by Redis' clock
	lease      time.Duration // until the lease lapses; 0: the job has no owner
	owes       bool          // it has to undo something before it ends
}

// unreadableState is the state of a job whose record cannot be read.
const unreadableState transfer.State = "unreadableState"

func (s *status) overdue() bool { return s.due != nil && !s.due.After(s.now) }

func (c *Client) statuses(ctx context.Context, ids []string) ([]status, error) {
	found, leases := make([]*redis.SliceCmd, len(ids)), make([]*redis.DurationCmd, len(ids))
	var at *redis.TimeCmd
	_, err := c.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, id := range ids {
			found[i] = p.HMGet(ctx, recordKey(id), "state", "worker", "due", "owes")
			leases[i] = p.PTTL(ctx, leaseKey(id))
		}
		at = p.Time(ctx)
		return nil
	})
	if err != nil && !answered(err) {
		return nil, failed("read jobs", err)
	}
	list := make([]status, len(ids))
	for i, id := range ids {
		if err := found[i].Err(); err != nil {
			if !answered(err) {
				return nil, failed("read jobs", err)
			}
			c.skip(id, unreadable(id, "record", err))
			list[i] = status{id: id, state: unreadableState}
			continue
		}
		text := func(field int) string {
			s, _ := found[i].Val()[field].(string) // nil if there is none
			return s
		}
		list[i] = status{
			id: id, state: transfer.State(text(0)), worker: text(1), due: parseTime(text(2)),
			now: timeOf(at), lease: max(0, leases[i].Val()),
			owes: text(3) != "",
		}
		if list[i].state == "" {
			list[i].state = none
		}
	}
	return list, nil
}

func idsOf(entries []entry) []string {
	ids := make([]string, len(entries))
	for i, e := range entries {
		ids[i] = e.id
	}
	return ids
}
