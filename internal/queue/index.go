package queue

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/transferd/transferd/internal/transfer"
)

// The index is sorted sets of the jobs that have not ended, each by when a service of maintenance looks at the job next (in
// ms, by Redis' clock). A tick reads only what is due.
//
// The index lies in other cluster slots than the records, so it is written by commands of its own, and says no more than
// "look at this job then". Only Enqueue and Retry add jobs. Afterwards a job is in the set of queued or of running jobs at any
// time, though not always in the one of its state: the service that looks at it moves it, and a look is never more than
// a lease away. A service changes an entry only if it is still the one that it read, so that it drops no job that was
// retried meanwhile. What is lost all the same, reindex makes again from the records.
const (
	keyQueued    = "td:queued"    // by when the trigger is checked
	keyRunning   = "td:running"   // by when the lease may lapse: no later than it does
	keyDeadlines = "td:deadlines" // by deadline, or when it is checked again
)

// timeInMs is Redis' clock, as now.
const timeInMs = redisTime + `
local now = redisTime()
`

var (
	// schedule has maintenance look at jobs. KEYS: a set. ARGV: in how many ms, jobs.
	scheduleScript = newScript(timeInMs + `
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[i]) end
return 'ok'
`)

	// due is the jobs whose time has come, with their scores. KEYS: a set. ARGV: how many at the most.
	dueScript = newScript(timeInMs + `
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'WITHSCORES', 'LIMIT', 0, ARGV[1])
`)

	// reschedule changes entries that are still as they were read. KEYS: a set. ARGV: of each job the job, the score that was
	// read, and in how many ms it is due again, or empty to drop it. It deletes first, for a Redis that is full.
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

// entry is a job in a set whose time has come.
type entry struct {
	id    string
	score string
	next  time.Duration // when it is due again, from now on; 0: it leaves the set
}

// due returns a page of the jobs in a set whose time has come.
func (c *Client) due(ctx context.Context, set string) ([]entry, error) {
	list, err := dueScript.Run(ctx, c.rdb, []string{set}, page).StringSlice()
	if err != nil {
		return nil, failed("list jobs that are due", err)
	}
	var entries []entry
	for pair := range slices.Chunk(list, 2) {
		entries = append(entries, entry{id: pair[0], score: pair[1]})
	}
	return entries, nil
}

// schedule has the service of a set look at jobs after a while.
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

// reschedule has the service of a set look at jobs again when their entries say.
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

// addToIndex is what Enqueue writes before the record: an entry without a record is dropped, a record without an entry would
// be lost. With a fingerprint the job becomes the last one of its spec in the same round trip.
func (c *Client) addToIndex(ctx context.Context, r *record, fingerprint string) error {
	return failed("index the job", c.pipelined(ctx, func(p pipeline) {
		if fingerprint != "" {
			p.run(reserveScript, []string{keySpecs}, fingerprint, anyJob, r.id)
		}
		p.ZAdd(ctx, keyJobs, redis.Z{Score: float64(r.created.UnixMilli()), Member: r.id})
		p.run(scheduleScript, []string{keyQueued}, pickUp.Milliseconds(), r.id)
		if r.due != nil {
			p.ZAdd(ctx, keyDeadlines, redis.Z{Score: float64(r.due.UnixMilli()), Member: r.id})
		}
	}))
}

// removeFromIndex is of jobs that are gone.
func (c *Client) removeFromIndex(ctx context.Context, ids []string) error {
	_, err := c.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, set := range []string{keyJobs, keyQueued, keyRunning, keyDeadlines} {
			p.ZRem(ctx, set, ids)
		}
		return nil
	})
	return failed("forget jobs", err)
}

// status is what most services need of a job.
type status struct {
	id, worker string
	state      transfer.State // none: there is no such job; unread: it cannot be read
	due        *time.Time
	now        time.Time     // when it was read, by Redis' clock
	lease      time.Duration // how long it is held still; 0: it is free
}

// unread is the state of a job whose record cannot be read.
const unread transfer.State = "unread"

func (s *status) late() bool { return s.due != nil && !s.due.After(s.now) }

func (c *Client) statuses(ctx context.Context, ids []string) ([]status, error) {
	found, leases := make([]*redis.SliceCmd, len(ids)), make([]*redis.DurationCmd, len(ids))
	var at *redis.TimeCmd
	_, err := c.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, id := range ids {
			found[i] = p.HMGet(ctx, recordKey(id), "state", "worker", "due")
			leases[i] = p.PTTL(ctx, leaseKey(id))
		}
		at = p.Time(ctx)
		return nil
	})
	if err != nil && !answered(err) {
		return nil, failed("look at jobs", err)
	}
	list := make([]status, len(ids))
	for i, id := range ids {
		if err := found[i].Err(); err != nil {
			if !answered(err) {
				return nil, failed("look at jobs", err)
			}
			c.skip(id, unreadable(id, "record", err))
			list[i] = status{id: id, state: unread}
			continue
		}
		text := func(field int) string {
			s, _ := found[i].Val()[field].(string) // nil if there is none
			return s
		}
		list[i] = status{
			id: id, state: transfer.State(text(0)), worker: text(1), due: parseTime(text(2)),
			now: timeOf(at), lease: max(0, leases[i].Val()),
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
