package queue

// Scripts that do not fit into the table of moves.

// claimant defines self, the caller's value in a claim, and holder, which says who holds a claim:
// fenced for a later owner of the caller's job, empty for the caller or an earlier owner, else the
// job. Two owners with the same epoch differ only by their tokens, and neither is the later one, so
// holder returns the job. Earlier versions wrote only the job. ARGV: the job, its epoch, its
// owner's token.
const claimant = `
local self = ARGV[1] .. ' ' .. ARGV[2] .. ' ' .. ARGV[3]
local function holder(claim)
  local job, epoch, token = string.match(claim, '^(%S+) ?(%d*) ?(%S*)$')
  epoch = tonumber(epoch) or 0
  if job ~= ARGV[1] then return job end
  if epoch > tonumber(ARGV[2]) then return 'fenced' end
  if epoch == tonumber(ARGV[2]) and token ~= ARGV[3] then return job end
  return ''
end
`

var (
	// renew renews the lease. KEYS: jobKeys. ARGV: that of requireOwner.
	renewScript = newScript(requireOwner + `
renewLease()
if redis.call('HGET', KEYS[1], 'cancel') then return 'cancel' end
return 'ok'
`)

	// save writes a checkpoint and renews the lease. It sets crashes to 0 when the ledger is longer
	// than ever before, or more bytes are done in the parts of a job that has no ledger, because a job
	// that runs for days may survive many crashes. KEYS: jobKeys. ARGV: that of requireOwner, plan,
	// progress, reset (1 or 0), packed entries, whether to notify watchers (1 or 0), whether the job
	// only undoes what it owes, so that a cancellation does not end it (1 or 0), whether it owes
	// something (1 or 0), the bytes that its parts have done.
	saveScript = newScript(requireOwner + `
if ARGV[7] == '1' then redis.call('DEL', KEYS[2]) end
local far = tonumber(ARGV[12])
if #ARGV[8] > 0 then far = redis.call('APPEND', KEYS[2], ARGV[8]) end
if far > tonumber(redis.call('HGET', KEYS[1], 'farthest') or '0') then
  redis.call('HSET', KEYS[1], 'crashes', '0', 'farthest', string.format('%d', far))
end
redis.call('HSET', KEYS[1], 'plan', ARGV[5], 'progress', ARGV[6])
if ARGV[11] == '1' then redis.call('HSET', KEYS[1], 'owes', '1') else redis.call('HDEL', KEYS[1], 'owes') end
renewLease()
if ARGV[9] == '1' then notify() end
if ARGV[10] ~= '1' and redis.call('HGET', KEYS[1], 'cancel') then return 'cancel' end
return 'ok'
`)

	// outlived sets crashes to 0, because the worker that a takeover has counted as dead is alive: it
	// was stopped or cut off, and the job has not killed it. So the workers that died have not died
	// in a row. The deletion is for a full Redis, see renewLease. KEYS: jobKeys.
	outlivedScript = newScript(`
local state = redis.call('HGET', KEYS[1], 'state')
if state == 'running' or state == 'queued' then
  redis.call('HDEL', KEYS[1], 'crashes')
  redis.call('HSET', KEYS[1], 'crashes', '0')
end
return 'ok'
`)

	// delete deletes a job that has ended, and the remaining keys of one without a record. KEYS:
	// jobKeys.
	deleteScript = newScript(`
local state = redis.call('HGET', KEYS[1], 'state')
if state == 'queued' or state == 'running' then return state end
redis.call('UNLINK', unpack(KEYS))
return 'ok'
`)

	// reserve makes a job the last one of its spec. KEYS: keySpecs. ARGV: fingerprint, the job that
	// may be replaced or * for any, the new job. It answers the last job if that may not be
	// replaced, else an empty word. It is idempotent.
	reserveScript = newScript(`
local id = redis.call('HGET', KEYS[1], ARGV[1])
if id and id ~= ARGV[2] and id ~= ARGV[3] and ARGV[2] ~= '*' then return id end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return ''
`)

	// claimDrive claims a drive for reading, which several jobs may do, or for writing, which
	// excludes all others. KEYS: its writer, its readers by when their claims lapse, its mark.
	// ARGV: the job, its epoch, its owner's token, how long the claim lasts in ms, the mark that a
	// writer leaves or empty, the expected mark or -, how long marks last in ms, another expected
	// mark. It answers an empty word and the previous mark; or fenced, if a later owner of the job
	// has claimed the drive; or mark, if the mark is not an expected one; or the job that has claimed
	// the drive.
	claimDriveScript = newScript(timeInMs + claimant + `
local writer = redis.call('GET', KEYS[1])
local other = writer and holder(writer) or ''
if other ~= '' then return {other} end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
local mark = redis.call('GET', KEYS[3]) or ''
if ARGV[6] ~= '-' and mark ~= ARGV[6] and mark ~= ARGV[8] then return {'mark'} end
for _, reader in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  other = holder(reader)
  if other == 'fenced' or other ~= '' and ARGV[5] ~= '' then return {other} end
  if other == '' and reader ~= self then redis.call('ZREM', KEYS[2], reader) end
end
if ARGV[5] == '' then
  redis.call('ZADD', KEYS[2], now + ARGV[4], self)
  redis.call('PEXPIRE', KEYS[2], ARGV[4])
  return {'', mark}
end
redis.call('SET', KEYS[1], self, 'PX', ARGV[4])
redis.call('SET', KEYS[3], ARGV[5], 'PX', ARGV[7])
return {'', mark}
`)

	// freeDrive ends a claim. A writer's claim lapses after a delay, during which no job can claim
	// the drive. KEYS: as above. ARGV: the job, its epoch, its owner's token, the delay in ms.
	freeDriveScript = newScript(claimant + `
if redis.call('GET', KEYS[1]) == self then
  if tonumber(ARGV[4]) > 0 then redis.call('PEXPIRE', KEYS[1], ARGV[4]) else redis.call('DEL', KEYS[1]) end
end
redis.call('ZREM', KEYS[2], self)
return ''
`)

	// unreserve removes jobs that are the last ones of their specs. KEYS: keySpecs. ARGV:
	// fingerprint and ID of each job.
	unreserveScript = newScript(`
for i = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then redis.call('HDEL', KEYS[1], ARGV[i]) end
end
return 'ok'
`)
)
