package queue

import "github.com/redis/go-redis/v9"

// The moves of a job. Each script but the last four gets the keys of one job (jobKeys) and answers a word, which for all but acquire is
// enough: ok, or why not. Epochs only rise; whoever holds an older one is fenced.

// tell wakes those who watch the job.
const tell = `
local function tell() redis.call('XADD', KEYS[4], 'MAXLEN', '~', '256', '*', 'e', '1') end
`

// mine answers unless the caller's epoch is the job's and the job is running.
const mine = tell + `
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return 'missing' end
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return 'fenced' end
if state ~= 'running' then return state end
`

var (
	// create makes a record. ARGV: spec, now, due or empty.
	createScript = newScript(tell + `
if redis.call('EXISTS', KEYS[1]) == 1 then return 'exists' end
redis.call('HSET', KEYS[1], 'spec', ARGV[1], 'state', 'queued', 'epoch', '0', 'attempts', '0', 'crashes', '0', 'created', ARGV[2], 'due', ARGV[3])
tell()
return 'ok'
`)

	// acquire makes the caller the owner. ARGV: worker, now, lease in ms, the most crashes, the failure after them, the
	// failure of a canceled job. A running job without a lease has lost its worker.
	acquireScript = newScript(tell + `
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return {'missing'} end
if state ~= 'queued' and state ~= 'running' then return {'ended'} end
local finish = function(state, failure)
  redis.call('HSET', KEYS[1], 'state', state, 'error', failure, 'finished', ARGV[2])
  redis.call('HINCRBY', KEYS[1], 'epoch', 1)
  redis.call('HDEL', KEYS[1], 'cancel')
  tell()
  return {'ended'}
end
if state == 'running' then
  if redis.call('EXISTS', KEYS[3]) == 1 then return {'owned'} end
  if redis.call('HGET', KEYS[1], 'cancel') then return finish('canceled', ARGV[6]) end
  if redis.call('HINCRBY', KEYS[1], 'crashes', 1) > tonumber(ARGV[4]) then return finish('failed', ARGV[5]) end
end
local epoch = redis.call('HINCRBY', KEYS[1], 'epoch', 1)
redis.call('HINCRBY', KEYS[1], 'attempts', 1)
redis.call('HSET', KEYS[1], 'state', 'running', 'worker', ARGV[1])
redis.call('HSETNX', KEYS[1], 'started', ARGV[2])
redis.call('SET', KEYS[3], ARGV[1], 'PX', ARGV[3])
tell()
return {'ok', tostring(epoch)}
`)

	// beat renews the lease, for as long as it is there even in a Redis that is full. ARGV: epoch, worker, lease in ms.
	beatScript = newScript(mine + `
if redis.call('PEXPIRE', KEYS[3], ARGV[3]) == 0 then redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[3]) end
if redis.call('HGET', KEYS[1], 'cancel') then return 'cancel' end
return 'ok'
`)

	// save keeps a checkpoint and renews the lease. Crashes count from when the ledger was last longer than ever: days of work
	// may see many. ARGV: epoch, worker, lease in ms, plan, progress, reset (1 or 0),
	// packed entries.
	saveScript = newScript(mine + `
if ARGV[6] == '1' then redis.call('DEL', KEYS[2]) end
if #ARGV[7] > 0 then
  local size = redis.call('APPEND', KEYS[2], ARGV[7])
  if size > tonumber(redis.call('HGET', KEYS[1], 'farthest') or '0') then redis.call('HSET', KEYS[1], 'crashes', '0', 'farthest', size) end
end
redis.call('HSET', KEYS[1], 'plan', ARGV[4], 'progress', ARGV[5])
redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[3])
tell()
if redis.call('HGET', KEYS[1], 'cancel') then return 'cancel' end
return 'ok'
`)

	// finish ends the job. ARGV: epoch, state, failure or empty, now. Asked again after an answer that was lost it finds
	// the state it would make. A Redis that is full refuses a script at its first command that takes room, and so not one
	// that begins by freeing some: this one, release, cancel and expire.
	finishScript = newScript(mine + `
redis.call('DEL', KEYS[3])
redis.call('HSET', KEYS[1], 'state', ARGV[2], 'finished', ARGV[4])
if #ARGV[3] > 0 then redis.call('HSET', KEYS[1], 'error', ARGV[3]) else redis.call('HDEL', KEYS[1], 'error') end
redis.call('HDEL', KEYS[1], 'cancel')
tell()
return 'ok'
`)

	// release hands the job back unfinished, and the attempt does not count; or ends it, if that was asked meanwhile. ARGV:
	// epoch, the failure of a canceled job, now.
	releaseScript = newScript(mine + `
redis.call('DEL', KEYS[3])
if redis.call('HDEL', KEYS[1], 'cancel') == 1 then
  redis.call('HSET', KEYS[1], 'state', 'canceled', 'error', ARGV[2], 'finished', ARGV[3])
  tell()
  return 'canceled'
end
redis.call('HSET', KEYS[1], 'state', 'queued')
redis.call('HINCRBY', KEYS[1], 'attempts', -1)
tell()
return 'ok'
`)

	// cancel ends a job that waits, and asks the owner of one that runs. ARGV: failure, now.
	cancelScript = newScript(tell + `
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return 'missing' end
redis.call('HDEL', KEYS[1], 'cancel')
if state == 'running' and redis.call('EXISTS', KEYS[3]) == 1 then
  redis.call('HSET', KEYS[1], 'cancel', '1')
  return 'ok'
end
if state ~= 'queued' and state ~= 'running' then return state end
redis.call('HSET', KEYS[1], 'state', 'canceled', 'error', ARGV[1], 'finished', ARGV[2])
redis.call('HINCRBY', KEYS[1], 'epoch', 1)
tell()
return 'ok'
`)

	// expire ends a job that is due and that nobody runs. ARGV: failure, now.
	expireScript = newScript(tell + `
local due, state = redis.call('HGET', KEYS[1], 'due'), redis.call('HGET', KEYS[1], 'state')
if state ~= 'queued' and (state ~= 'running' or redis.call('EXISTS', KEYS[3]) == 1) then return 'not idle' end
if not due or due == '' or tonumber(due) > tonumber(ARGV[2]) then return 'not due' end
redis.call('DEL', KEYS[3])
redis.call('HSET', KEYS[1], 'state', 'failed', 'error', ARGV[1], 'finished', ARGV[2])
redis.call('HINCRBY', KEYS[1], 'epoch', 1)
tell()
return 'ok'
`)

	// retry puts a job that failed or was canceled back, with all it remembers. ARGV: due or empty.
	retryScript = newScript(tell + `
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return 'missing' end
if state ~= 'failed' and state ~= 'canceled' then return state end
redis.call('HSET', KEYS[1], 'state', 'queued', 'crashes', '0', 'due', ARGV[1])
redis.call('HDEL', KEYS[1], 'error', 'finished', 'cancel')
redis.call('HINCRBY', KEYS[1], 'epoch', 1)
tell()
return 'ok'
`)

	// forget deletes a job that has ended, and what is left of one without a record.
	forgetScript = newScript(`
local state = redis.call('HGET', KEYS[1], 'state')
if state == 'queued' or state == 'running' then return state end
redis.call('UNLINK', unpack(KEYS))
return 'ok'
`)
)

var (
	// claim makes a job the one of its spec. KEYS: keySpecs. ARGV: fingerprint, the job that may be replaced or * for any, the
	// new one. It answers the job that is in the way, if one is. Asked again after an answer that was lost it finds its own.
	claimScript = newScript(`
local id = redis.call('HGET', KEYS[1], ARGV[1])
if id and id ~= ARGV[2] and id ~= ARGV[3] and ARGV[2] ~= '*' then return id end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return ''
`)

	// claimDrive has a job read a drive with others, or write it alone. KEYS: its writer, its readers by when they lapse, its
	// mark. ARGV: the job, how long in ms, the mark that a writer leaves or empty, the mark that has to be there or -, how
	// long marks last in ms. It answers an empty word and the mark that was there; or the job that is in the way, which is
	// the caller's own if the mark is not the one that it has to be.
	claimDriveScript = newScript(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local writer = redis.call('GET', KEYS[1])
if writer and writer ~= ARGV[1] then return {writer} end
local mark = redis.call('GET', KEYS[3]) or ''
if ARGV[4] ~= '-' and mark ~= ARGV[4] then return {ARGV[1]} end
if ARGV[3] == '' then
  redis.call('ZADD', KEYS[2], now + ARGV[2], ARGV[1])
  redis.call('PEXPIRE', KEYS[2], ARGV[2])
  return {'', mark}
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
for _, reader in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  if reader ~= ARGV[1] then return {reader} end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SET', KEYS[3], ARGV[3], 'PX', ARGV[5])
return {'', mark}
`)

	// freeDrive ends that. KEYS: as above. ARGV: the job.
	freeDriveScript = newScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
redis.call('ZREM', KEYS[2], ARGV[1])
return ''
`)

	// unclaim forgets jobs that are the ones of their specs. KEYS: keySpecs. ARGV: fingerprint and job, of each.
	unclaimScript = newScript(`
for i = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then redis.call('HDEL', KEYS[1], ARGV[i]) end
end
return 'ok'
`)
)

// script is a redis.Script that has its source, for pipelines and for the Schema.
type script struct {
	*redis.Script
	source string
}

func newScript(source string) *script {
	return &script{Script: redis.NewScript(source), source: source}
}
