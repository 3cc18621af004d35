package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/transferd/transferd/internal/transfer"
)

// The record of a batch has its items, each with the ID of its job, before any of the jobs is
// enqueued. Enqueuing is idempotent: the client does it, and if the client dies, maintenance
// (batchservice.go) continues where the record says.

// batchState is whether the items of a batch are enqueued.
type batchState string

const (
	batchOpen     batchState = "open"
	batchPaused   batchState = "paused"
	batchCanceled batchState = "canceled"
)

// batchMove is a change of a batch's state.
type batchMove struct {
	name string
	from []batchState
	to   batchState
}

// The table of moves of a batch. A move that repeats the last one changes nothing.
var (
	openBatch   = batchMove{"create", []batchState{"none"}, batchOpen}
	pauseBatch  = batchMove{"pause", []batchState{batchOpen, batchPaused}, batchPaused}
	resumeBatch = batchMove{"resume", []batchState{batchPaused, batchOpen}, batchOpen}
	cancelBatch = batchMove{"cancel", []batchState{batchOpen, batchPaused, batchCanceled}, batchCanceled}
	retryBatch  = batchMove{"retry", []batchState{batchOpen, batchPaused, batchCanceled}, batchOpen}
)

var (
	// batchMove changes the state of a batch. KEYS: batchKeys. ARGV: the states that allow it,
	// separated by spaces; the new state; then fields and their values. It keeps the items of a new
	// batch, which expire until then.
	batchMoveScript = newScript(`
local state = redis.call('HGET', KEYS[1], 'state') or 'none'
if not string.find(' ' .. ARGV[1] .. ' ', ' ' .. state .. ' ', 1, true) then return state end
redis.call('HDEL', KEYS[1], 'final')
redis.call('HSET', KEYS[1], 'state', ARGV[2])
for i = 3, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('PERSIST', KEYS[2])
return 'ok'
`)

	// batchItems writes items. Those of a batch that has no record yet expire. KEYS: batchKeys.
	// ARGV: for how many ms they are kept, then the number and the text of each.
	batchItemsScript = newScript(`
for i = 2, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('PEXPIRE', KEYS[2], ARGV[1]) end
return 'ok'
`)

	// batchCursor records how many items are enqueued, unless more are. KEYS: batchKeys. ARGV: the
	// number. It answers the state of the batch.
	batchCursorScript = newScript(`
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return 'none' end
if tonumber(redis.call('HGET', KEYS[1], 'enqueued') or '0') < tonumber(ARGV[1]) then
  redis.call('HSET', KEYS[1], 'enqueued', ARGV[1])
end
return state
`)

	// batchOutcome records the result of a batch (the job is final), or the outcome of a job that
	// is pruned. KEYS: batchKeys. ARGV: pairs of job and text.
	batchOutcomeScript = newScript(`
if redis.call('EXISTS', KEYS[1]) == 0 then return 'none' end
for i = 1, #ARGV, 2 do
  if ARGV[i] == 'final' then redis.call('HSET', KEYS[1], 'final', ARGV[i + 1])
  else redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1]) end
end
return 'ok'
`)

	// batchDelete deletes a batch. KEYS: batchKeys.
	batchDeleteScript = newScript(`
redis.call('UNLINK', unpack(KEYS))
return 'ok'
`)

	// reserveItems makes jobs the last ones of their items. KEYS: keyItems. ARGV: of each item its
	// key, the job that may be replaced or an empty word, the new job. It answers, for each item,
	// the last job if that may not be replaced, else an empty word. It is idempotent.
	reserveItemsScript = newScript(`
local others = {}
for i = 1, #ARGV, 3 do
  local id = redis.call('HGET', KEYS[1], ARGV[i])
  if id and id ~= ARGV[i + 1] and id ~= ARGV[i + 2] then
    others[#others + 1] = id
  else
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 2])
    others[#others + 1] = ''
  end
end
return others
`)
)

func (c *Client) runBatch(ctx context.Context, op string, s *script, id string, args ...any) (string, error) {
	word, err := s.Run(ctx, c.rdb, batchKeys(id), args...).Text()
	return word, failed(op+" batch "+id, err)
}

func (c *Client) moveBatch(ctx context.Context, m *batchMove, id string, values ...any) error {
	from := ""
	for _, state := range m.from {
		from += string(state) + " "
	}
	args := append([]any{from, string(m.to)}, values...)
	word, err := c.runBatch(ctx, m.name, batchMoveScript, id, args...)
	switch {
	case err != nil:
		return err
	case word == ok || m.to == batchOpen && word != "none" && slices.Contains(m.from, "none"): // a second try
		return nil
	case word == string(none):
		return noSuchBatch(id)
	}
	return transfer.Errorf(transfer.CodeInvalid, "transferctl batch show "+id+" shows it", "batch %s is %s", id, word)
}

func noSuchBatch(id string) error {
	return transfer.Errorf(transfer.CodeNotFound,
		"transferctl batch list shows all batches", "there is no batch %s", id)
}

const (
	// batchPage is how many items are written or enqueued at once.
	batchPage = 500
	// draftKept is how long the items of a batch without a record are kept.
	draftKept = 10 * time.Minute
	// batchCheck is how long the client that enqueues a batch may take for a page. After that
	// maintenance enqueues the rest.
	batchCheck = 10 * time.Second
)

// RunningBatch returns the batch of a plan that has not ended; empty: there is none.
func (c *Client) RunningBatch(ctx context.Context, fingerprint string) (id string, err error) {
	id, err = c.rdb.HGet(ctx, keyPlans, fingerprint).Result()
	if err == redis.Nil { //nolint:errorlint // go-redis returns it bare
		return "", nil
	}
	if err != nil {
		return "", failed("find the batch of the plan", err)
	}
	b, err := c.Batch(ctx, id)
	switch {
	case transfer.CodeOf(err) == transfer.CodeNotFound:
		return "", nil
	case err != nil || b.State.Ended():
		return "", err
	}
	return id, nil
}

// CreateBatch records a batch, unless one of the same plan has not ended: then it returns that one,
// and exists is true. EnqueueBatch enqueues the jobs. CodeInvalid: a spec holds a password.
func (c *Client) CreateBatch(ctx context.Context, b transfer.NewBatch) (id string, exists bool, err error) {
	for i := range b.Entries {
		if spec := b.Entries[i].Spec; spec != nil {
			if err := checkSecrets(spec); err != nil {
				return "", false, err
			}
		}
	}
	id = NewID()
	if other, err := c.reservePlan(ctx, b.Fingerprint, id); other != "" || err != nil {
		return other, true, err
	}
	now, err := c.now(ctx)
	if err != nil {
		return "", false, err
	}
	if err := c.setItems(ctx, id, 0, b.Entries); err != nil {
		return "", false, err
	}
	_, err = c.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.ZAdd(ctx, keyBatches, redis.Z{Score: float64(now.UnixMilli()), Member: id})
		p.ZAdd(ctx, keyOpenBatches, redis.Z{Score: float64(now.Add(batchCheck).UnixMilli()), Member: id})
		return nil
	})
	if err != nil {
		return "", false, failed("index batch "+id, err)
	}
	return id, false, c.moveBatch(ctx, &openBatch, id, "plan", b.Plan, "fingerprint", b.Fingerprint,
		"created", now.UnixMilli(), "items", len(b.Entries), "enqueued", 0)
}

// reservePlan makes id the last batch of a plan, or returns the last one if that has not ended.
func (c *Client) reservePlan(ctx context.Context, fingerprint, id string) (other string, err error) {
	ended, began := "", time.Now()
	for {
		other, err := reserveScript.Run(ctx, c.rdb, []string{keyPlans}, fingerprint, ended, id).Text()
		if err != nil || other == "" {
			return "", failed("find the batch of the plan", err)
		}
		b, err := c.Batch(ctx, other)
		switch {
		case transfer.CodeOf(err) == transfer.CodeNotFound && time.Since(began) < reserveTimeout:
			if err := sleep(ctx, reservePause); err != nil {
				return "", err
			}
		case transfer.CodeOf(err) == transfer.CodeNotFound || err == nil && b.State.Ended():
			ended = other
		default:
			return other, err
		}
	}
}

// setItems writes entries as the items from number first on.
func (c *Client) setItems(ctx context.Context, id string, first int, entries []transfer.BatchEntry) error {
	for page := range slices.Chunk(entries, batchPage) {
		args := []any{draftKept.Milliseconds()}
		for i := range page {
			if spec := page[i].Spec; spec != nil {
				spec.Batch = id
			}
			args = append(args, first+i, mustJSON(&page[i]))
		}
		if _, err := c.runBatch(ctx, "write items of", batchItemsScript, id, args...); err != nil {
			return err
		}
		first += len(page)
	}
	return nil
}

// items reads the items from number first on, up to number end.
func (c *Client) items(ctx context.Context, id string, first, end int) ([]transfer.BatchEntry, error) {
	entries := make([]transfer.BatchEntry, 0, end-first)
	for first < end {
		var numbers []string
		for ; first < end && len(numbers) < batchPage; first++ {
			numbers = append(numbers, strconv.Itoa(first))
		}
		texts, err := c.rdb.HMGet(ctx, batchKeys(id)[1], numbers...).Result()
		if err != nil {
			return nil, failed("read items of batch "+id, err)
		}
		for i, value := range texts {
			var e transfer.BatchEntry
			text, _ := value.(string)
			if err := json.Unmarshal([]byte(text), &e); err != nil {
				return nil, unreadable(id, "item "+numbers[i], err)
			}
			entries = append(entries, e)
		}
	}
	return entries, nil
}

// batchRecord is the record of a batch.
type batchRecord struct {
	id          string
	state       batchState
	plan        string
	fingerprint string
	created     time.Time
	items       int
	enqueued    int
	final       string // its result as JSON; empty: it has none yet
}

func (c *Client) batchRecord(ctx context.Context, id string) (r batchRecord, err error) {
	h, err := c.rdb.HGetAll(ctx, batchKeys(id)[0]).Result()
	if err != nil {
		return r, failed("read batch "+id, err)
	}
	if len(h) == 0 {
		return r, noSuchBatch(id)
	}
	r = batchRecord{
		id: id, state: batchState(h["state"]), plan: h["plan"], fingerprint: h["fingerprint"], final: h["final"],
	}
	created := parseTime(h["created"])
	r.items, err = strconv.Atoi(h["items"])
	if err == nil {
		r.enqueued, err = strconv.Atoi(h["enqueued"])
	}
	if created == nil || err != nil {
		return r, unreadable(id, "record", fmt.Errorf("its numbers are damaged"))
	}
	r.created = *created
	return r, nil
}
