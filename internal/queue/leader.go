package queue

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// leader is this server's part in the election of the one that does maintenance. One goroutine uses it.
type leader struct {
	client *Client
	name   string // of this server
	timing timing
	log    *zap.Logger

	since   time.Time // when this server began to lead; zero: it does not
	renewed time.Time // when Redis last said that it does
}

var leadScript = redis.NewScript(`
local leader = redis.call('GET', KEYS[1])
if leader and leader ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
`)

// lead makes this server the leader, or keeps it, and reports whether it is. A server that could not renew its leadership in
// time begins again, though no other took it: Redis was away.
func (l *leader) lead(ctx context.Context) (bool, error) {
	n, err := leadScript.Run(ctx, l.client.rdb, []string{keyLeader}, l.name, l.timing.leader.Milliseconds()).Int()
	if n != 1 || err != nil {
		l.reset()
		return false, failed("become the leader", err)
	}
	began := time.Now()
	if began.Sub(l.renewed) > l.timing.leader {
		l.since = began
	}
	l.renewed = began
	return true, nil
}

// reset has the next leadership begin again.
func (l *leader) reset() { l.since, l.renewed = time.Time{}, time.Time{} }

// calm reports whether this server has led for so long, with Redis there, that a lapsed lease means a dead worker: while Redis
// was away all leases lapsed, and workers that live renew theirs first.
func (l *leader) calm() bool { return time.Since(l.since) >= l.timing.calm }

var resignScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
`)

// resign lets another server lead at once; if it fails, that is a few seconds later.
func (l *leader) resign(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dialTimeout)
	defer cancel()
	if err := resignScript.Run(ctx, l.client.rdb, []string{keyLeader}, l.name).Err(); err != nil {
		l.log.Debug("leadership not given up", zap.Error(err))
	}
}
