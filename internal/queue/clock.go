package queue

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// now is Redis' clock, in whole milliseconds: all times of the queue are by it, for the clocks of
// those that use a queue may differ by hours. What only lasts, such as a wait, is measured by the
// clock of whoever waits. Scripts that change records are given the time, and do not ask for it:
// the journal of the queue in memory replays them.
func (c *Client) now(ctx context.Context) (time.Time, error) {
	cmd := c.rdb.Time(ctx)
	return timeOf(cmd), failed("ask the queue for the time", cmd.Err())
}

// timeOf is the answer to a TIME.
func timeOf(cmd *redis.TimeCmd) time.Time { return cmd.Val().UTC().Truncate(time.Millisecond) }
