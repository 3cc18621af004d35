package queue

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// now is the time by Redis' clock, in whole milliseconds. All times of the queue are by this clock,
// because the clocks of the hosts that use a queue may differ by hours. Durations, such as a wait,
// are measured by the local clock. Scripts that change records take the time as an argument and do
// not read it, because the journal of the queue in memory replays them.
func (c *Client) now(ctx context.Context) (time.Time, error) {
	cmd := c.rdb.Time(ctx)
	return timeOf(cmd), failed("read the time of Redis", cmd.Err())
}

// redisTime is Redis' clock for scripts that change no records, in ms.
const redisTime = `
local function redisTime()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
`

// timeOf is the answer to a TIME command.
func timeOf(cmd *redis.TimeCmd) time.Time { return cmd.Val().UTC().Truncate(time.Millisecond) }
