package queue

import (
	"context"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/transfer"
)

// reconcile makes sure, in one server at a time, that every job that has not ended has an owner or a trigger.
func (s *Server) reconcile(ctx context.Context) {
	tick := time.NewTicker(s.timing.tick)
	defer tick.Stop()
	var led, checked time.Time // since when it leads; when it last looked at jobs that wait
	for {
		leads, err := s.lead(ctx)
		if leads && err == nil {
			if led.IsZero() {
				led = time.Now()
			}
			// While Redis was away all leases lapsed, and those who live renew them first of all.
			calm, waiting := time.Since(led) >= s.timing.calm, time.Since(checked) >= s.timing.recheck
			if err = s.reconcileOnce(ctx, calm, waiting); err == nil && waiting {
				checked = time.Now()
			}
		} else if err == nil {
			checked = time.Time{}
		}
		if !leads || err != nil {
			led = time.Time{}
		}
		if err != nil && ctx.Err() == nil {
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

// reconcileOnce looks at all jobs that may not have ended: those that run, if asked, for lost owners, and those that wait
// for lapsed deadlines and, if asked, lost triggers.
func (s *Server) reconcileOnce(ctx context.Context, running, waiting bool) error {
	ids, err := s.client.rdb.SMembers(ctx, keyActive).Result()
	if err != nil {
		return failed("list unfinished jobs", err)
	}
	for chunk := range slices.Chunk(ids, page) {
		if err := s.reconcilePage(ctx, chunk, running, waiting); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) reconcilePage(ctx context.Context, ids []string, running, waiting bool) error {
	records, err := s.client.records(ctx, ids)
	if err != nil {
		return err
	}
	owned, err := s.owned(ctx, records)
	if err != nil {
		return err
	}
	var ended []string
	there := make(map[string]bool, len(records))
	for _, r := range records {
		there[r.id] = true
		switch {
		case r.state.Terminal():
			ended = append(ended, r.id)
		case r.state == transfer.Running && running && !owned[r.id]:
			s.cfg.Log.Info("job has lost its worker", zap.String("job", r.id), zap.String("worker", r.worker))
			err = s.client.trigger(ctx, r)
		case r.state == transfer.Queued && r.due != nil && !r.due.After(time.Now()):
			_, err = s.client.move(ctx, "end job "+r.id, expireScript, r.id, failureDue, now())
		case r.state == transfer.Queued && waiting:
			err = s.client.trigger(ctx, r)
		}
		if err != nil {
			return failed("look after job "+r.id, err)
		}
	}
	if err := s.client.dropEnded(ctx, ended); err != nil {
		return err
	}
	return s.dropDangling(ctx, ids, there)
}

// owned reports which jobs have a lease.
func (s *Server) owned(ctx context.Context, records []*record) (map[string]bool, error) {
	leases := make([]*redis.IntCmd, len(records))
	_, err := s.client.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, r := range records {
			leases[i] = p.Exists(ctx, leaseKey(r.id))
		}
		return nil
	})
	if err != nil {
		return nil, failed("look at leases", err)
	}
	owned := make(map[string]bool, len(records))
	for i, r := range records {
		owned[r.id] = leases[i].Val() == 1
	}
	return owned, nil
}

// dangling is how old a member of the indexes without a record must be to be dropped: a younger one may be about to get
// its record.
const dangling = time.Minute

func (s *Server) dropDangling(ctx context.Context, ids []string, there map[string]bool) error {
	for _, id := range ids {
		if there[id] {
			continue
		}
		score, err := s.client.rdb.ZScore(ctx, keyJobs, id).Result()
		if err != nil && err != redis.Nil { //nolint:errorlint // go-redis returns it bare
			return failed("look at the index", err)
		}
		if time.Since(time.UnixMilli(int64(score))) > dangling {
			if err := s.client.forget(ctx, []string{id}); err != nil {
				return err
			}
		}
	}
	return nil
}
