package queue

import (
	"context"
	"sync"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// grouped sends the scripts that many goroutines run at the same time in one round trip. asynq
// enqueues one task a call, and on a Redis that syncs each write a call takes some milliseconds.
//
// The first caller sends its script. Those that come meanwhile are sent together when the answer is
// there, also by the first caller. All callers have contexts that end together.
type grouped struct {
	redis.UniversalClient

	mu      sync.Mutex
	waiting []*groupedCall
	sending bool
}

type groupedCall struct {
	sha  string
	keys []string
	args []any
	cmd  *redis.Cmd
	sent chan struct{}
}

// EvalSha is that of a redis.Scripter.
func (g *grouped) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	call := &groupedCall{sha: sha, keys: keys, args: args, sent: make(chan struct{})}
	g.mu.Lock()
	g.waiting = append(g.waiting, call)
	sends := !g.sending
	g.sending = true
	g.mu.Unlock()
	if sends {
		g.send(ctx)
	}
	<-call.sent
	return call.cmd
}

// send sends all scripts that wait, until none does.
func (g *grouped) send(ctx context.Context) {
	for {
		g.mu.Lock()
		calls := g.waiting
		g.waiting = nil
		g.sending = len(calls) > 0
		g.mu.Unlock()
		if len(calls) == 0 {
			return
		}
		_, _ = g.Pipelined(ctx, func(p redis.Pipeliner) error { // each command has its error
			for _, c := range calls {
				c.cmd = p.EvalSha(ctx, c.sha, c.keys, c.args...)
			}
			return nil
		})
		for _, c := range calls {
			close(c.sent)
		}
	}
}

// grouped returns a wakeup whose push many goroutines call at the same time, with contexts that end
// together.
func (w *wakeup) grouped() *wakeup {
	g := *w
	g.tasks = asynq.NewClientFromRedisClient(&grouped{UniversalClient: w.rdb})
	return &g
}
