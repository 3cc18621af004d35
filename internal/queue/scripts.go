package queue

// What does not fit into the table of moves.

// mine answers unless the caller's epoch is the job's and the job is running.
const mine = notify + `
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return 'none' end
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return 'fenced' end
if state ~= 'running' then return state end
`

var (
	// renew renews the lease, also in a Redis that is full unless the lease has lapsed. KEYS: jobKeys. ARGV: epoch, worker, lease in
	// ms.
	renewScript = newScript(mine + `
if redis.call('PEXPIRE', KEYS[3], ARGV[3]) == 0 then redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[3]) end
if redis.call('HGET', KEYS[1], 'cancel') then return 'cancel' end
return 'ok'
`)

	// save keeps a checkpoint and renews the lease. Crashes count from when the ledger was last longer than ever: days of work
	// may see many. KEYS: jobKeys. ARGV: epoch, worker, lease in ms, plan, progress, reset (1 or 0), packed entries.
	saveScript = newScript(mine + `
if ARGV[6] == '1' then redis.call('DEL', KEYS[2]) end
if #ARGV[7] > 0 then
  local size = redis.call('APPEND', KEYS[2], ARGV[7])
  if size > tonumber(redis.call('HGET', KEYS[1], 'farthest') or '0') then redis.call('HSET', KEYS[1], 'crashes', '0', 'farthest', size) end
end
redis.call('HSET', KEYS[1], 'plan', ARGV[4], 'progress', ARGV[5])
redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[3])
notify()
if redis.call('HGET', KEYS[1], 'cancel') then return 'cancel' end
return 'ok'
`)

	// forget deletes a job that has ended, and what is left of one without a record. KEYS: jobKeys.
	forgetScript = newScript(`
local state = redis.call('HGET', KEYS[1], 'state')
if state == 'queued' or state == 'running' then return state end
redis.call('UNLINK', unpack(KEYS))
return 'ok'
`)

	// reserve makes a job the last one of its spec. KEYS: keySpecs. ARGV: fingerprint, the job that may be replaced or * for
	// any, the new one. It answers the job that may not be replaced, if there is one. Sent again after an answer that was lost it
	// finds its own.
	reserveScript = newScript(`
local id = redis.call('HGET', KEYS[1], ARGV[1])
if id and id ~= ARGV[2] and id ~= ARGV[3] and ARGV[2] ~= '*' then return id end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return ''
`)

	// claimDrive has a job read a drive with others, or write it alone. KEYS: its writer, its readers by when they lapse, its
	// mark. ARGV: the job, how long in ms, the mark that a writer leaves or empty, the mark that is expected or -, how
	// long marks last in ms. It answers an empty word and the mark that was there; or the job that has the drive, which is
	// the caller's own if the mark is not the expected one.
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

	// unreserve removes jobs that are the last ones of their specs. KEYS: keySpecs. ARGV: fingerprint and job, of each.
	unreserveScript = newScript(`
for i = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then redis.call('HDEL', KEYS[1], ARGV[i]) end
end
return 'ok'
`)
)
