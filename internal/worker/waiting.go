package worker

import (
	"time"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/flow"
	"github.com/transferd/transferd/internal/transfer"
)

// silenceDetector detects a silent endpoint: calls are in flight, and no byte moves.
type silenceDetector struct {
	calls map[string]int // in flight, by endpoint
	moved time.Time      // when a byte moved last, the first call in flight began, or a call ended
}

// beginCall counts a call to an endpoint.
func (c *counters) beginCall(endpoint string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.silence.calls == nil {
		c.silence.calls = make(map[string]int)
	}
	if len(c.silence.calls) == 0 {
		c.silence.moved = time.Now()
	}
	c.silence.calls[endpoint]++
}

// endCall ends a call that beginCall has counted.
func (c *counters) endCall(endpoint string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.silence.moved = time.Now()
	if c.silence.calls[endpoint]--; c.silence.calls[endpoint] == 0 {
		delete(c.silence.calls, endpoint)
	}
}

// waiting returns the wait for an endpoint that has been silent for long; nil: none is. Such a call
// is finally cut and retried; then the retry is what the job waits for.
func (d *silenceDetector) waiting(now time.Time) *transfer.Waiting {
	if now.Sub(d.moved) < flow.LongWait {
		return nil
	}
	for endpoint := range d.calls {
		return &transfer.Waiting{
			Code: transfer.CodeTimeout, Since: jsonTime(d.moved),
			Cause: "no byte moves to or from " + endpoint,
		}
	}
	return nil
}

// waitLog logs the beginning and the end of a job's long waits. It is not safe for concurrent use.
type waitLog struct {
	log  *zap.Logger
	last *transfer.Waiting // the wait logged last; nil: it has ended
}

// update logs the change from the last wait to w; nil: the job does not wait.
func (l *waitLog) update(w *transfer.Waiting) {
	switch {
	case w == nil && l.last != nil:
		l.log.Info("job wait ended", zap.String("after", l.last.Word()), zap.Time("since", l.last.Since))
	case w != nil && (l.last == nil || !l.last.Since.Equal(w.Since)):
		fields := []zap.Field{zap.String("for", w.Word()), zap.String("cause", w.Cause), zap.Time("since", w.Since)}
		if !w.GivesUp.IsZero() {
			fields = append(fields, zap.Time("until", w.Until), zap.Time("gives_up", w.GivesUp))
		}
		l.log.Info("job waiting", fields...)
	}
	l.last = w
}
