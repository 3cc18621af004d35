package queue

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// leader is this server's side of the election of the server that does maintenance. One goroutine
// uses it.
type leader struct {
	client *Client
	name   string // of this server
	timing timing
	log    *zap.Logger

	since   time.Time // when this server began to lead; zero: it does not lead
	renewed time.Time // when Redis last granted or renewed the leadership
}

var leadScript = redis.NewScript(`
local leader = redis.call('GET', KEYS[1])
if leader and leader ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
`)

// lead acquires or renews the leadership, and reports whether this server has it. A leadership that
// lapsed before it was renewed begins again, also if no other server had it meanwhile: Redis was
// away.
func (l *leader) lead(ctx context.Context) (bool, error) {
	n, err := leadScript.Run(ctx, l.client.rdb, []string{keyLeader}, l.name, l.timing.leader.Milliseconds()).Int()
	if n != 1 || err != nil {
		l.reset()
		return false, failed("become the leader of maintenance", err)
	}
	began := time.Now()
	if began.Sub(l.renewed) > l.timing.leader {
		l.since = began
	}
	l.renewed = began
	return true, nil
}

// reset ends this leadership for this server: the next lead begins another one.
func (l *leader) reset() { l.since, l.renewed = time.Time{}, time.Time{} }

// pastGrace reports whether a lapsed lease means a lost worker: whether this server has led for the
// grace period. In an outage of Redis all leases lapse, and in the grace period after it the
// workers renew theirs.
func (l *leader) pastGrace() bool { return time.Since(l.since) >= l.timing.grace }

var resignScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
`)

// resign lets another server lead at once. If it fails, the leadership lapses a few seconds later.
func (l *leader) resign(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dialTimeout)
	defer cancel()
	if err := resignScript.Run(ctx, l.client.rdb, []string{keyLeader}, l.name).Err(); err != nil {
		l.log.Debug("leadership not released", zap.Error(err))
	}
}
