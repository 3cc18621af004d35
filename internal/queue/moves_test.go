package queue

import (
	"fmt"
	"maps"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/transferd/transferd/internal/transfer"
)

var allMoves = []*move{
	createMove, acquireMove, succeedMove, failMove, stopMove, releaseMove, cancelMove, expireMove, retryMove,
}

// situation is everything on which a move may depend.
type situation struct {
	state             transfer.State
	held, cancel, due bool
	owes              bool
	crashes           int
	fenced            string // why the caller is not the owner: epoch, token or redis; empty: it is
}

// situations returns all combinations.
func situations() []situation {
	list := []situation{{state: none}, {state: none, fenced: "epoch"}}
	both := []bool{false, true}
	for _, state := range []transfer.State{
		transfer.Queued, transfer.Running, transfer.Succeeded, transfer.Failed, transfer.Canceled,
	} {
		for _, held := range both {
			for _, cancel := range both {
				for _, due := range both {
					for _, owes := range both {
						for _, crashes := range []int{0, maxCrashes - 1, maxCrashes} {
							for _, fenced := range []string{"", "epoch", "token", "redis"} {
								list = append(list, situation{state, held, cancel, due, owes, crashes, fenced})
							}
						}
					}
				}
			}
		}
	}
	return list
}

const testEpoch = 7

// record is the hash of a job in the situation; empty if there is none.
func (s *situation) record() map[string]string {
	if s.state == none {
		return map[string]string{}
	}
	due := time.Now().Add(time.Hour)
	if s.due {
		due = time.Now().Add(-time.Minute)
	}
	h := map[string]string{
		"spec": mustJSON(newSpec()), "state": string(s.state), "epoch": strconv.Itoa(testEpoch),
		"attempts": "4", "crashes": strconv.Itoa(s.crashes), "farthest": "40", "plan": "{}",
		"created": "1", "started": "2", "due": strconv.FormatInt(due.UnixMilli(), 10),
		"worker": "before", "owner": "before", "home": "before", "lapse": "4", "late": "5",
	}
	if s.state.Terminal() {
		h["finished"], h["error"] = "3", failureLost
	}
	if s.cancel {
		h["cancel"] = "1"
	}
	if s.owes {
		h["owes"] = "1"
	}
	return h
}

// values is the values that the callers of moves pass, and those that the script adds.
var values = map[string]string{
	"spec": mustJSON(newSpec()), "due": "99", "worker": "w", "owner": "w's", "home": "boot",
	"error": failureDue, "cancel": "1", "created": "now", "started": "now", "finished": "now",
}

// isFenced reports whether the caller of a move is not the owner, or has not renewed the lease at
// this Redis.
func (s *situation) isFenced(m *move) bool {
	return m.owner && s.fenced != "" && s.state != none && (s.fenced != "redis" || s.state == transfer.Running)
}

// rule returns the rule of a move that matches the situation; nil: none.
func (s *situation) rule(m *move) *rule {
	if s.isFenced(m) {
		return nil
	}
	for i, r := range m.rules {
		owner := map[bool]string{true: held, false: free}[s.held]
		matches := r.From == s.state && (r.IfLease == "" || r.IfLease == owner) &&
			(!r.IfCancel || s.cancel) && (!r.IfDue || s.due) && s.crashes >= r.IfCrashes &&
			(r.IfOwes == "" || r.IfOwes == map[bool]string{true: owesSomething, false: owesNothing}[s.owes])
		if matches {
			return &m.rules[i]
		}
	}
	return nil
}

// want returns the effect of a move by the table: the answer, the record, and whether the job has a
// lease after it.
func (s *situation) want(m *move, before map[string]string) (answer string, after map[string]string, lease bool) {
	r := s.rule(m)
	switch {
	case s.isFenced(m):
		return "fenced", before, s.held
	case r == nil:
		return string(s.state), before, s.held
	}
	after = maps.Clone(before)
	for _, field := range r.Delete {
		delete(after, field)
	}
	after["state"] = string(r.To)
	for _, field := range r.Set {
		after[field] = values[field]
	}
	for _, field := range r.SetOnce {
		if before[field] == "" {
			after[field] = values[field]
		}
	}
	for _, field := range r.Zero {
		after[field] = "0"
	}
	if r.Error != "" {
		after["error"] = r.Error
	}
	for field, n := range r.Add {
		old, _ := strconv.Atoi(after[field])
		after[field] = strconv.Itoa(old + n)
	}
	return ok, after, map[string]bool{grant: true, revoke: false, "": s.held}[r.Lease]
}

// check makes a move in the situation and compares its effect with the table.
func (s *situation) check(t *testing.T, c *Client, m *move) {
	t.Helper()
	id, before := fmt.Sprintf("%s-%+v", m.name, *s), s.record()
	run, err := c.rdb.Eval(t.Context(), thisRedis+"return (thisRedis())", nil).Text()
	if err != nil {
		t.Fatal(err)
	}
	if s.state != none {
		before["redis"] = run
	}
	if s.state != none && s.fenced == "redis" {
		before["redis"] = "another"
	}
	began := now()
	_, err = c.rdb.Pipelined(t.Context(), func(p redis.Pipeliner) error {
		if s.state != none {
			p.HSet(t.Context(), recordKey(id), before)
		}
		if s.held {
			p.Set(t.Context(), leaseKey(id), "before", time.Hour)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	a := moveArgs{owner: owner{testEpoch, "before"}, lease: time.Hour}
	switch s.fenced {
	case "epoch":
		a.owner.epoch--
	case "token":
		a.owner.token = "another" // that of a Redis before it was restored
	}
	for _, field := range []string{"spec", "due", "worker", "owner", "home", "error"} {
		a.values = append(a.values, field, values[field])
	}
	answer, r, err := c.move(t.Context(), m, id, a)
	if err != nil {
		t.Fatalf("%s: %v", id, err)
	}
	wantAnswer, wantRecord, wantLease := s.want(m, before)
	got := c.rdb.HGetAll(t.Context(), recordKey(id)).Val()
	for field, value := range wantRecord {
		if value == "now" {
			if at, _ := strconv.ParseInt(got[field], 10, 64); at < began || at > now() {
				t.Errorf("%s: got %s %s, want the time of the move", id, field, got[field])
			}
			wantRecord[field] = got[field]
		}
	}
	if r := s.rule(m); r != nil && r.Lease == grant { // TestTakeoverEqualsTheModel checks these
		for _, field := range []string{"lapse", "late", "redis"} {
			wantRecord[field] = got[field]
		}
	}
	if s.state == none && answer == ok {
		wantRecord["redis"] = run
	}
	lease := c.rdb.Exists(t.Context(), leaseKey(id)).Val() == 1
	if answer != wantAnswer || !maps.Equal(got, wantRecord) || lease != wantLease {
		t.Errorf("%s:\ngot  %s, lease %v, %v\nwant %s, lease %v, %v",
			id, answer, lease, got, wantAnswer, wantLease, wantRecord)
	}
	events, wantEvents := c.rdb.XLen(t.Context(), eventsKey(id)).Val(), map[bool]int64{true: 1}[answer == ok]
	if (r != nil) != (answer == ok) || r != nil && string(r.state) != got["state"] || events != wantEvents {
		t.Errorf("%s: got the record %+v and %d events, want that of Redis and %d", id, r, events, wantEvents)
	}
}

// TestMoveTable: every move in every situation changes the record as the table says, or not at all.
func TestMoveTable(t *testing.T) {
	for name, start := range map[string]func(t *testing.T) Options{
		"redis": func(t *testing.T) Options { return startRedis(t).options },
		"memory": func(t *testing.T) Options {
			r := embed(t, t.TempDir(), "")
			t.Cleanup(func() { closeEmbedded(t, r) })
			return optionsOf(r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, start(t))
			for _, m := range allMoves {
				applied := make(map[*rule]bool)
				for _, s := range situations() {
					if s.fenced == "redis" && name == "memory" {
						continue // it has no run_id
					}
					s.check(t, c, m)
					applied[s.rule(m)] = true
				}
				for i := range m.rules {
					if !applied[&m.rules[i]] {
						t.Errorf("%s: rule %d matches in no situation", m.name, i)
					}
				}
			}
		})
	}
}
