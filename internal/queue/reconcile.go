package queue

import (
	"context"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/transfer"
)

// leadership is what a leader remembers from tick to tick.
type leadership struct {
	since   time.Time // when it began
	renewed time.Time // when Redis last said that it is; zero: it is not
	checked time.Time // when it last looked whether jobs that wait have their trigger
}

// reconcile makes sure, in one server at a time, that every job that has not ended has an owner or a trigger.
func (s *Server) reconcile(ctx context.Context) {
	tick := time.NewTicker(s.timing.tick)
	defer tick.Stop()
	var l leadership
	for {
		if err := s.lookAfterJobs(ctx, &l); err != nil && ctx.Err() == nil {
			s.cfg.Log.Warn("jobs not looked after", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			s.abdicate(ctx)
			return
		case <-tick.C:
		}
	}
}

// lookAfterJobs is one tick of whoever leads. It takes no longer than a leader may be silent: what was asked before an
// outage of Redis, and is answered after it, must not look as if there had been none.
func (s *Server) lookAfterJobs(ctx context.Context, l *leadership) error {
	ctx, cancel := context.WithTimeout(ctx, s.timing.leader)
	defer cancel()
	leads, err := s.lead(ctx)
	if !leads || err != nil {
		*l = leadership{}
		return err
	}
	began := time.Now()
	if began.Sub(l.renewed) > s.timing.leader {
		l.since = began
	}
	l.renewed = began
	// While Redis was away all leases lapsed, and those who live renew them first of all.
	calm, waiting := began.Sub(l.since) >= s.timing.calm, began.Sub(l.checked) >= s.timing.recheck
	more, err := s.reconcileOnce(ctx, calm, waiting)
	if err != nil {
		*l = leadership{}
		return err
	}
	if waiting && !more {
		l.checked = began
	}
	return nil
}

var leadScript = redis.NewScript(`
local leader = redis.call('GET', KEYS[1])
if leader and leader ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
`)

func (s *Server) lead(ctx context.Context) (bool, error) {
	n, err := leadScript.Run(ctx, s.client.rdb, []string{keyLeader}, s.cfg.Name, s.timing.leader.Milliseconds()).Int()
	return n == 1, failed("become the leader", err)
}

var abdicateScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
`)

// abdicate lets another server lead at once; if it fails, that is a few seconds later.
func (s *Server) abdicate(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dialTimeout)
	defer cancel()
	if err := abdicateScript.Run(ctx, s.client.rdb, []string{keyLeader}, s.cfg.Name).Err(); err != nil {
		s.cfg.Log.Debug("leadership not given up", zap.Error(err))
	}
}

// reconcileOnce looks at all jobs that may not have ended: those that run, if asked, for lost owners, and then those that
// wait for lapsed deadlines and, if asked, lost triggers. more says that some of these are left for the next tick.
func (s *Server) reconcileOnce(ctx context.Context, running, waiting bool) (more bool, err error) {
	ids, err := s.client.rdb.SMembers(ctx, keyActive).Result()
	if err != nil {
		return false, failed("list unfinished jobs", err)
	}
	var queued []glance
	for chunk := range slices.Chunk(ids, page) {
		waits, err := s.reconcilePage(ctx, chunk, running)
		if err != nil {
			return false, err
		}
		queued = append(queued, waits...)
	}
	return s.reconcileQueued(ctx, queued, waiting)
}

// reconcilePage looks after a page of jobs but for those that wait, which it returns.
func (s *Server) reconcilePage(ctx context.Context, ids []string, running bool) (queued []glance, err error) {
	glances, err := s.client.glances(ctx, ids)
	if err != nil {
		return nil, err
	}
	var gone, ended []string
	var lost []glance
	for _, g := range glances {
		switch {
		case g.state == "":
			gone = append(gone, g.id)
		case g.state.Terminal():
			ended = append(ended, g.id)
		case g.state == transfer.Queued:
			queued = append(queued, g)
		case running && !g.owned:
			lost = append(lost, g)
		}
	}
	if err := s.replaceLost(ctx, lost); err != nil {
		return nil, err
	}
	if err := s.client.dropEnded(ctx, ended); err != nil {
		return nil, err
	}
	return queued, s.dropDangling(ctx, gone)
}

// replaceLost finds new workers for jobs that have lost theirs, and ends those whose deadline has passed: there may be no
// other worker.
func (s *Server) replaceLost(ctx context.Context, lost []glance) error {
	var ids []string
	for _, g := range lost {
		s.cfg.Log.Info("job has lost its worker", zap.String("job", g.id), zap.String("worker", g.worker))
		if !g.late() {
			ids = append(ids, g.id)
		} else if err := s.client.expire(ctx, g.id); err != nil {
			return err
		}
	}
	records, err := s.client.records(ctx, ids)
	if err != nil {
		return err
	}
	for _, r := range records {
		if err := s.client.wakeup.trigger(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// reconcileQueued ends jobs whose deadline has passed before anybody took them up and, if asked, triggers those that have
// no trigger: a page of them at the most, for each is a round trip or more, and meanwhile nobody looks for lost owners.
func (s *Server) reconcileQueued(ctx context.Context, queued []glance, waiting bool) (more bool, err error) {
	var ids []string
	left := page
	for _, g := range queued {
		if !g.late() {
			ids = append(ids, g.id)
			continue
		}
		if left--; left < 0 {
			return true, nil
		}
		if err := s.client.expire(ctx, g.id); err != nil {
			return false, err
		}
	}
	if !waiting {
		return false, nil
	}
	for chunk := range slices.Chunk(ids, page) {
		records, err := s.client.records(ctx, chunk)
		if err != nil {
			return false, err
		}
		without, err := s.client.wakeup.untriggered(ctx, records)
		if err != nil {
			return false, err
		}
		for _, r := range without {
			if left--; left < 0 {
				return true, nil
			}
			if err := s.client.wakeup.trigger(ctx, r); err != nil {
				return false, err
			}
		}
	}
	return false, nil
}

// glance is the little of a job that is looked at in each tick.
type glance struct {
	id, worker string
	state      transfer.State // empty: there is no such job
	due        *time.Time
	owned      bool // it has a lease
}

func (g *glance) late() bool { return g.due != nil && !g.due.After(time.Now()) }

func (c *Client) glances(ctx context.Context, ids []string) ([]glance, error) {
	fields, leases := make([]*redis.SliceCmd, len(ids)), make([]*redis.IntCmd, len(ids))
	_, err := c.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, id := range ids {
			fields[i] = p.HMGet(ctx, recordKey(id), "state", "worker", "due")
			leases[i] = p.Exists(ctx, leaseKey(id))
		}
		return nil
	})
	if err != nil {
		return nil, failed("look at jobs", err)
	}
	list := make([]glance, len(ids))
	for i, id := range ids {
		text := func(field int) string {
			s, _ := fields[i].Val()[field].(string) // nil if there is none
			return s
		}
		list[i] = glance{id: id, state: transfer.State(text(0)), worker: text(1), due: parseTime(text(2)), owned: leases[i].Val() == 1}
	}
	return list, nil
}

// expire ends a job that nobody runs and whose deadline has passed.
func (c *Client) expire(ctx context.Context, id string) error {
	_, _, err := c.move(ctx, expireMove, id, moveArgs{})
	return err
}

// dangling is how old a member of the indexes without a record must be to be dropped: a younger one may be about to get
// its record.
const dangling = time.Minute

func (s *Server) dropDangling(ctx context.Context, ids []string) error {
	for _, id := range ids {
		score, err := s.client.rdb.ZScore(ctx, keyJobs, id).Result()
		if err != nil && err != redis.Nil { //nolint:errorlint // go-redis returns it bare
			return failed("look at the index", err)
		}
		if time.Since(time.UnixMilli(int64(score))) > dangling {
			if _, err := s.client.forget(ctx, []string{id}); err != nil {
				return err
			}
		}
	}
	return nil
}
