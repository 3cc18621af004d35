package queue

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"time"

	"github.com/transferd/transferd/internal/lease"
)

// The fields of a record about its owner. An owner that releases or ends the job deletes lapse. If
// the record has lapse when another worker acquires the job, the owner was lost.
//
//	owner   the random token of the attempt that has the job, or had it last. The epoch only
//	        orders attempts: a Redis that is restored from an older copy grants one twice
//	home    the boot of the host on which the owner runs (lease.Life); may be empty
//	lapse   when the owner's lease lapses, in ms by Redis' clock
//	redis   the run_id of the Redis that made the record or last granted a lease; empty: unknown
//	late    until when bytes of lost owners may arrive, in ms by Redis' clock; deleted when the job
//	        succeeds
//
// A Redis that was restarted, or became the primary, may have an older copy of a record, without
// the later owners. A lease that the previous Redis granted lapses at most one lease after the
// start of this one. thisRedis returns the run_id of this Redis, empty if unknown, and its uptime
// in ms.
const thisRedis = redisTime + `
local function thisRedis()
  local info = redis.pcall('INFO')
  if type(info) ~= 'string' then return '', 0 end
  local function value(pattern) return string.match(info, pattern) or nil end
  -- Set after a failover. INFO does not have the time of the failover, so the uptime counts as 0.
  local failed_over = value('second_repl_offset:(%d+)')
  local seconds = failed_over and 0 or tonumber(value('uptime_in_seconds:(%d+)')) or 0
  return value('run_id:(%x+)') or '', seconds * 1000
end
`

// grantLease grants a lease to a new owner. If the previous owner did not release the job, and its
// process is not proven to have ended, bytes that it sent may still arrive. A record of an older
// version has no lapse; grantLease then assumes a whole lease from now.
const grantLease = `
local function grantLease(token, lease, wait, ended)
  local now, run, since = redisTime(), thisRedis()
  local lapse, owner, late = tonumber(get('lapse') or nil), get('owner'), tonumber(get('late') or nil)
  if run ~= '' and get('redis') ~= run then
    late = math.max(late or 0, now - since + lease + wait)
  elseif (lapse or state == 'running') and not (owner and owner == ended) then
    if not lapse or run == '' then lapse = now + lease end
    late = math.max(late or 0, lapse + wait)
  end
  if late then set('late', string.format('%d', late)) end
  set('lapse', string.format('%d', now + lease))
  set('redis', run)
  redis.call('SET', KEYS[3], token, 'PX', lease)
end

-- lateLeft is how many ms bytes of lost owners may still arrive; empty: no owner was lost.
local function lateLeft()
  local late = get('late')
  return late and string.format('%d', math.max(0, late - redisTime())) or ''
end
`

// requireOwner ends the script unless the caller owns the job and the job is running. If another
// Redis may have granted a lease in between, it answers late once, with the number of ms for which
// bytes of unknown owners may arrive; the next call continues. ARGV: epoch, token, lease in ms, how
// long bytes may arrive after a lapse in ms.
const requireOwner = notify + thisRedis + `
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return 'none' end
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return 'fenced' end
if (redis.call('HGET', KEYS[1], 'owner') or '') ~= ARGV[2] then return 'fenced' end
if state ~= 'running' then return state end
local run, since = thisRedis()
if run ~= '' and redis.call('HGET', KEYS[1], 'redis') ~= run then
  local now = redisTime()
  local late = math.max(tonumber(redis.call('HGET', KEYS[1], 'late') or 0), now - since + ARGV[3] + ARGV[4])
  redis.call('HDEL', KEYS[1], 'redis') -- a full Redis, see renewLease
  redis.call('HSET', KEYS[1], 'redis', run, 'late', string.format('%d', late))
  return string.format('late %d', math.max(0, late - now))
end

-- renewLease renews the caller's lease. A full Redis refuses SET, unless the script has deleted
-- something before.
local function renewLease()
  if redis.call('PEXPIRE', KEYS[3], ARGV[3]) == 0 then
    redis.call('DEL', KEYS[3])
    redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[3])
  end
  redis.call('HSET', KEYS[1], 'lapse', string.format('%d', redisTime() + ARGV[3]))
end
`

// owner identifies the attempt that owns a job.
type owner struct {
	epoch int64
	token string
}

// claimant is the arguments that identify an owner in the claims of drives.
func (o owner) claimant(job string) []any { return []any{job, o.epoch, o.token} }

// anyEpoch is that of a trigger which says nothing of the job's epoch.
const anyEpoch = ""

// acquire makes this worker the owner of a job. epoch is the job's when the trigger was made: a
// trigger of an earlier epoch, which an outage of Redis has delayed, acquires nothing, for another
// worker has acquired the job since. life proves that processes on this host have ended; it may be
// nil. acquire returns nil if the job has another epoch, has an owner or has ended.
func (c *Client) acquire(
	ctx context.Context, id, epoch, worker string, t timing, life *lease.Life,
) (*Attempt, error) {
	ended, err := c.endedOwner(ctx, id, life)
	if err != nil {
		return nil, err
	}
	token, held := rand.Text(), lease.New(lease.Boottime, t.lease)
	sent := held.Now()
	r, late, err := c.runAcquire(ctx, id, moveArgs{
		owner: owner{token: token}, lease: t.lease, late: t.late, ended: ended,
		values: []string{"worker", worker, "owner", token, "home", life.Boot(), "known", epoch},
	})
	if err != nil || r == nil {
		return nil, err
	}
	held.Renewed(sent)
	if late != "" {
		if err := recordLate(held, late); err != nil {
			return nil, fmt.Errorf("take job %s: %w", id, err)
		}
	}
	return &Attempt{
		Job: r.job(), Spec: r.spec, lost: r.crashes > maxCrashes, client: c, readAt: time.Now(), worker: worker,
		owner: owner{r.epoch, token}, lease: held, timing: t,
	}, nil
}

// recordLate records in the lease how many ms bytes of lost owners may arrive, as a script
// answered.
func recordLate(l *lease.Lease, ms string) error {
	n, err := strconv.ParseInt(ms, 10, 64)
	if err == nil {
		l.TookOver(time.Duration(n) * time.Millisecond)
	}
	return err
}

// endedOwner is the token of the job's last owner if its process has provably ended; else "".
func (c *Client) endedOwner(ctx context.Context, id string, life *lease.Life) (token string, err error) {
	fields, err := c.rdb.HMGet(ctx, recordKey(id), "owner", "home", "worker").Result()
	if err != nil {
		return "", failed("read job "+id, err)
	}
	text := make([]string, len(fields))
	for i := range fields {
		text[i], _ = fields[i].(string) // nil if there is none
	}
	if !life.Ended(text[1], text[2]) {
		return "", nil
	}
	return text[0], nil
}
