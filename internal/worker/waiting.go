package worker

import (
	"time"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/flow"
	"github.com/transferd/transferd/internal/transfer"
)

// attention detects an endpoint that is silent: calls are under way, and no byte moves.
type attention struct {
	calls map[string]int // under way, by endpoint
	moved time.Time      // when a byte moved last, or a call began or ended while no other was under way
}

// callBegins notes that a call to an endpoint is under way.
func (c *counters) callBegins(endpoint string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.attention.calls == nil {
		c.attention.calls = make(map[string]int)
	}
	if len(c.attention.calls) == 0 {
		c.attention.moved = time.Now()
	}
	c.attention.calls[endpoint]++
}

// callEnds notes that one such call is over.
func (c *counters) callEnds(endpoint string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.attention.moved = time.Now()
	if c.attention.calls[endpoint]--; c.attention.calls[endpoint] == 0 {
		delete(c.attention.calls, endpoint)
	}
}

// silent is the endpoint from which nothing has come for long; nil: none. A call that is cut for it
// is made again, which is then what the job waits for.
func (a *attention) silent(now time.Time) *transfer.Waiting {
	if now.Sub(a.moved) < flow.LongWait {
		return nil
	}
	for endpoint := range a.calls {
		return &transfer.Waiting{
			Code: transfer.CodeTimeout, Since: shown(a.moved),
			Cause: "nothing comes from " + endpoint + " or goes to it",
		}
	}
	return nil
}

// waitLog logs what a job waits for, when that begins and when it is over. It is not
// safe for concurrent use.
type waitLog struct {
	log  *zap.Logger
	last *transfer.Waiting // that was logged; nil: none
}

func (l *waitLog) note(w *transfer.Waiting) {
	switch {
	case w == nil && l.last != nil:
		l.log.Info("wait is over", zap.String("after", l.last.Word()), zap.Time("since", l.last.Since))
	case w != nil && (l.last == nil || !l.last.Since.Equal(w.Since)):
		fields := []zap.Field{zap.String("for", w.Word()), zap.String("cause", w.Cause), zap.Time("since", w.Since)}
		if !w.GivesUp.IsZero() {
			fields = append(fields, zap.Time("until", w.Until), zap.Time("gives_up", w.GivesUp))
		}
		l.log.Info("job waits", fields...)
	}
	l.last = w
}
