package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// move is a change of a job's record. A script applies the first of its rules that matches the
// record. If none matches, the record does not change.
type move struct {
	name  string
	owner bool // only the job's owner may make it: the caller's epoch and token must be the job's
	rules []rule
	text  string // rules as JSON
}

// rule is a row in the table of moves: when it matches, and what it changes.
type rule struct {
	From      transfer.State `json:"from"`
	IfLease   string         `json:"if_lease,omitempty"`   // held or free; empty: either
	IfCancel  bool           `json:"if_cancel,omitempty"`  // its worker has been asked to stop
	IfDue     bool           `json:"if_due,omitempty"`     // its deadline has passed
	IfCrashes int            `json:"if_crashes,omitempty"` // at least so many workers died without progress
	IfOwes    string         `json:"if_owes,omitempty"`    // yes or no: it has something to undo; empty: either

	To      transfer.State `json:"to"`
	Lease   string         `json:"lease,omitempty"`    // grant or revoke; empty: no change
	Delete  fields         `json:"delete,omitempty"`   // deletes these before it sets any
	Set     fields         `json:"set,omitempty"`      // to the caller's values; times: now; cancel: 1
	SetOnce fields         `json:"set_once,omitempty"` // as Set, unless the record has them
	Zero    fields         `json:"zero,omitempty"`     // sets these to 0
	Error   string         `json:"error,omitempty"`    // sets the field error to this
	Add     add            `json:"add,omitempty"`      // adds these numbers
}

type (
	fields []string
	add    map[string]int
)

const (
	none transfer.State = "none" // the state of a job that has no record

	held = "held"
	free = "free" // a running job with a free lease has lost its worker

	grant  = "grant"
	revoke = "revoke"

	owesSomething = "yes"
	owesNothing   = "no"
)

// maxCrashes is how many workers in a row may die under a job without progress in between. One that
// releases the job, or ends an attempt that it has lost, is alive and ends the row. After that many,
// a job that owes something is only given to workers that undo it, however many die: they do nothing
// of what may have killed the others. A job that waits, for a drive that another job writes or for
// what a lost worker sent, makes no progress either: in a fleet whose workers are killed every 80
// seconds each, 6 in a row ended one healthy job in a hundred.
const maxCrashes = 9

var (
	failureCanceled = mustJSON(transfer.Failure{
		Code: transfer.CodeCanceled, Message: "canceled", Hint: "transferctl jobs retry continues it",
	})
	errLost = transfer.Errorf(transfer.CodeWorkerLost,
		"look for what ended them (out of memory?), then transferctl jobs retry continues it",
		"%d workers in a row died while they ran this job", maxCrashes+1)
	failureLost = mustJSON(transfer.FailureOf(errLost))
	errDue      = transfer.Errorf(transfer.CodeDeadline,
		"transferctl jobs retry continues it, with as much time again", "the job has not ended by its deadline")
	failureDue = mustJSON(transfer.FailureOf(errDue))
)

// newOwner is the fields that identify the owner.
var newOwner = fields{"worker", "owner", "home"}

// The table of moves. An owner that releases or ends the job deletes lapse (fencing.go). A move
// that takes a job from its owner raises the epoch, which fences the owner. A full Redis refuses a
// script at its first command that needs memory, unless the script has deleted something before. So
// each move that ends a job first deletes a lease or a field, even one that does not exist.
//
// A job that owes something has not ended: no move ends it. A worker undoes what it owes first, also
// after it was canceled, its deadline has passed, or too many workers have died under it.
var (
	createMove = newMove("create", rule{From: none, To: transfer.Queued,
		Set: fields{"spec", "created", "due"}, Zero: fields{"epoch", "attempts", "crashes"}})

	acquireMove = newMove("acquire",
		rule{From: transfer.Queued, To: transfer.Running, Lease: grant,
			Set: newOwner, SetOnce: fields{"started"}, Add: add{"epoch": 1, "attempts": 1}},
		rule{From: transfer.Running, IfLease: free, IfCancel: true, IfOwes: owesNothing, To: transfer.Canceled,
			Delete: fields{"cancel"}, Set: fields{"finished"}, Error: failureCanceled, Add: add{"epoch": 1}},
		rule{From: transfer.Running, IfLease: free, IfCrashes: maxCrashes, IfOwes: owesNothing, To: transfer.Failed,
			Set: fields{"finished"}, Error: failureLost, Add: add{"epoch": 1, "crashes": 1}},
		rule{From: transfer.Running, IfLease: free, To: transfer.Running, Lease: grant,
			Set: newOwner, Add: add{"epoch": 1, "attempts": 1, "crashes": 1}})

	// If the answer is lost and the owner tries again, these answer the state that they made.
	succeedMove = newOwnerMove("succeed", rule{From: transfer.Running, To: transfer.Succeeded, Lease: revoke,
		Delete: fields{"cancel", "error", "lapse", "late"}, Set: fields{"finished"}})
	failMove = newOwnerMove("fail", requeueOwing, rule{From: transfer.Running, To: transfer.Failed, Lease: revoke,
		Delete: fields{"cancel", "lapse"}, Set: fields{"finished", "error"}})
	stopMove = newOwnerMove("stop", requeueOwing, rule{From: transfer.Running, To: transfer.Canceled, Lease: revoke,
		Delete: fields{"cancel", "lapse"}, Set: fields{"finished"}, Error: failureCanceled})

	// requeueOwing gives the job to another worker, which undoes what the job owes.
	requeueOwing = rule{From: transfer.Running, IfOwes: owesSomething, To: transfer.Queued, Lease: revoke,
		Delete: fields{"lapse"}}

	// release does not count the attempt. Its worker is alive, so the job does not kill its workers.
	releaseMove = newOwnerMove("release",
		rule{From: transfer.Running, IfCancel: true, IfOwes: owesNothing, To: transfer.Canceled, Lease: revoke,
			Delete: fields{"cancel", "lapse"}, Set: fields{"finished"}, Error: failureCanceled},
		rule{From: transfer.Running, To: transfer.Queued, Lease: revoke,
			Delete: fields{"lapse"}, Zero: fields{"crashes"}, Add: add{"attempts": -1}})

	// cancel asks the worker of a job that has one to stop, and the next one of a job that owes
	// something.
	cancelMove = newMove("cancel",
		rule{From: transfer.Running, IfLease: held, To: transfer.Running,
			Delete: fields{"cancel"}, Set: fields{"cancel"}},
		rule{From: transfer.Running, IfOwes: owesSomething, To: transfer.Running,
			Delete: fields{"cancel"}, Set: fields{"cancel"}},
		rule{From: transfer.Queued, IfOwes: owesSomething, To: transfer.Queued,
			Delete: fields{"cancel"}, Set: fields{"cancel"}},
		rule{From: transfer.Running, To: transfer.Canceled,
			Delete: fields{"cancel"}, Set: fields{"finished"}, Error: failureCanceled, Add: add{"epoch": 1}},
		rule{From: transfer.Queued, To: transfer.Canceled,
			Delete: fields{"cancel"}, Set: fields{"finished"}, Error: failureCanceled, Add: add{"epoch": 1}})

	expireMove = newMove("expire",
		rule{From: transfer.Queued, IfDue: true, IfOwes: owesNothing, To: transfer.Failed, Lease: revoke,
			Set: fields{"finished"}, Error: failureDue, Add: add{"epoch": 1}},
		rule{From: transfer.Running, IfLease: free, IfDue: true, IfOwes: owesNothing, To: transfer.Failed,
			Lease: revoke, Delete: fields{"cancel"}, Set: fields{"finished"}, Error: failureDue, Add: add{"epoch": 1}})

	retryMove = newMove("retry",
		rule{From: transfer.Failed, To: transfer.Queued,
			Delete: fields{"error", "finished", "cancel", "farthest"}, Set: fields{"due", "spec"},
			Zero: fields{"crashes"}, Add: add{"epoch": 1}},
		rule{From: transfer.Canceled, To: transfer.Queued,
			Delete: fields{"error", "finished", "cancel", "farthest"}, Set: fields{"due", "spec"},
			Zero: fields{"crashes"}, Add: add{"epoch": 1}})
)

func newMove(name string, rules ...rule) *move {
	return &move{name: name, rules: rules, text: mustJSON(rules)}
}

func newOwnerMove(name string, rules ...rule) *move {
	m := newMove(name, rules...)
	m.owner = true
	return m
}

// notify wakes the clients that watch the job.
const notify = `
local function notify() redis.call('XADD', KEYS[4], 'MAXLEN', '~', '256', '*', 'e', '1') end
`

// moveScript makes a move. KEYS: jobKeys. ARGV: the rules; the caller's epoch, empty for a move
// that others than the owner may make; its token; now; the lease in ms; how long bytes may arrive
// after a lapse, in ms; the token of an owner whose process has provably ended; 1 for an answer
// with the record; then fields and their values, of a new job also the run_id of this Redis, which
// takes the script long to find, and as known the epoch that the job must have. It answers ok, and
// with the record also how many ms bytes of lost owners may arrive; or why the record does not
// change: fenced, stale, or the job's state.
var moveScript = newScript(notify + `
local rules, epoch, token, now, reply = cjson.decode(ARGV[1]), ARGV[2], ARGV[3], ARGV[4], ARGV[8]
local lease, wait, ended = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]
local values = {created = now, started = now, finished = now, cancel = '1'}
for i = 9, #ARGV, 2 do values[ARGV[i]] = ARGV[i + 1] end

local function get(field) return redis.call('HGET', KEYS[1], field) end
local state = get('state') or 'none'
local changes = {}
local function set(field, value)
  changes[#changes + 1] = field
  changes[#changes + 1] = value
end
` + thisRedis + grantLease + `
if (values.known or '') ~= '' and state ~= 'none' and get('epoch') ~= values.known then return {'stale'} end
local owes = get('owes') and 'yes' or 'no'
local holder = redis.call('EXISTS', KEYS[3]) == 1 and 'held' or 'free'
if epoch ~= '' and state ~= 'none'
  and (get('epoch') ~= epoch or (get('owner') or '') ~= token) then return {'fenced'} end
-- An owner must first renew the lease at this Redis: the answer has how long bytes may arrive.
local run = epoch ~= '' and state == 'running' and thisRedis() or ''
if run ~= '' and get('redis') ~= run then return {'fenced'} end

local function applies(rule)
  return rule.from == state
    and (not rule.if_lease or rule.if_lease == holder)
    and (not rule.if_cancel or get('cancel'))
    and (not rule.if_due or (tonumber(get('due')) or math.huge) <= tonumber(now))
    and (not rule.if_owes or rule.if_owes == owes)
    and (not rule.if_crashes or tonumber(get('crashes')) >= rule.if_crashes)
end

local function apply(rule)
  if rule.lease == 'revoke' then redis.call('DEL', KEYS[3]) end
  if rule.delete then redis.call('HDEL', KEYS[1], unpack(rule.delete)) end
  set('state', rule.to)
  for _, field in ipairs(rule.set or {}) do set(field, values[field]) end
  for _, field in ipairs(rule.set_once or {}) do set(field, get(field) or values[field]) end
  for _, field in ipairs(rule.zero or {}) do set(field, '0') end
  if state == 'none' then set('redis', values.redis or (thisRedis())) end
  for field, n in pairs(rule.add or {}) do set(field, string.format('%d', get(field) + n)) end
  if rule.error then set('error', rule.error) end
  if rule.lease == 'grant' then grantLease(token, lease, wait, ended) end
  redis.call('HSET', KEYS[1], unpack(changes))
  notify()
end

for _, rule in ipairs(rules) do
  if applies(rule) then
    apply(rule)
    if reply ~= '1' then return {'ok'} end
    return {'ok', redis.call('HGETALL', KEYS[1]), lateLeft()}
  end
end
return {state}
`)

// moveArgs is the arguments of a move. lease, late and ended are for moves that grant a lease.
type moveArgs struct {
	now    time.Time     // by Redis' clock; zero: the move reads it
	owner  owner         // the caller, or the new owner
	lease  time.Duration // how long the lease lasts
	late   time.Duration // how long after a lapse bytes of the owner may arrive
	ended  string        // the token of an owner whose process has provably ended; may be empty
	values []string      // fields and their values
}

// args is ARGV of moveScript.
func (m *move) args(a *moveArgs, reply bool) []any {
	epoch, answer := "", "0"
	if m.owner {
		epoch = fmt.Sprint(a.owner.epoch)
	}
	if reply {
		answer = "1"
	}
	list := []any{
		m.text, epoch, a.owner.token, a.now.UnixMilli(),
		a.lease.Milliseconds(), a.late.Milliseconds(), a.ended, answer,
	}
	for _, v := range a.values {
		list = append(list, v)
	}
	return list
}

// ok is the answer of a script that did its work. Other answers to a move are fenced, and the state
// that forbids the move.
const ok = "ok"

// move makes a move and returns the record after it; nil unless the answer is ok.
func (c *Client) move(ctx context.Context, m *move, id string, a moveArgs) (answer string, r *record, err error) {
	answer, r, _, err = c.runMove(ctx, m, id, a)
	return answer, r, err
}

// runAcquire makes acquireMove. It returns the record if this worker now owns the job, and how many
// ms bytes of lost owners may arrive; empty: no owner was lost.
func (c *Client) runAcquire(ctx context.Context, id string, a moveArgs) (r *record, late string, err error) {
	_, r, late, err = c.runMove(ctx, acquireMove, id, a)
	if r != nil && r.state != transfer.Running {
		r = nil
	}
	return r, late, err
}

func (c *Client) runMove(
	ctx context.Context, m *move, id string, a moveArgs,
) (answer string, r *record, late string, err error) {
	if a.now.IsZero() {
		if a.now, err = c.now(ctx); err != nil {
			return "", nil, "", err
		}
	}
	list, err := moveScript.Run(ctx, c.rdb, jobKeys(id), m.args(&a, true)...).Slice()
	if err != nil {
		return "", nil, "", failed(m.name+" job "+id, err)
	}
	answer, _ = list[0].(string)
	if answer != ok {
		return answer, nil, "", nil
	}
	late, _ = list[2].(string)
	h := make(map[string]string)
	flat, _ := list[1].([]any)
	for i := 0; i+1 < len(flat); i += 2 {
		field, _ := flat[i].(string)
		h[field], _ = flat[i+1].(string)
	}
	r, err = parseRecord(id, h, a.now)
	return answer, r, late, err
}

// moveAll makes a move of many jobs at once and returns the answers.
func (c *Client) moveAll(ctx context.Context, m *move, ids []string, a moveArgs) ([]string, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	if a.now.IsZero() {
		var err error
		if a.now, err = c.now(ctx); err != nil {
			return nil, err
		}
	}
	list, err := c.runAll(ctx, m.name+" jobs", moveScript, ids, m.args(&a, false)...)
	if err != nil {
		return nil, err
	}
	answers := make([]string, len(ids))
	for i := range list {
		if words, _ := list[i].StringSlice(); len(words) > 0 { // none: the record cannot be read
			answers[i] = words[0]
		}
	}
	return answers, nil
}
