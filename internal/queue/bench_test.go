package queue

import (
	"strconv"
	"testing"

	"go.uber.org/zap"
)

// BenchmarkEnqueue enqueues from many goroutines into a redis-server that syncs every write.
func BenchmarkEnqueue(b *testing.B) {
	c := dial(b, startRedis(b).options)
	b.SetParallelism(10)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.Enqueue(b.Context(), newSpec()); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
}

// commands is how many commands the server has processed.
func commands(b *testing.B, c *Client) int {
	b.Helper()
	info, err := c.rdb.InfoMap(b.Context(), "stats").Result()
	if err != nil {
		b.Fatal(err)
	}
	n, err := strconv.Atoi(info["Stats"]["total_commands_processed"])
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// BenchmarkIdleTick ticks maintenance with 10,000 queued jobs.
func BenchmarkIdleTick(b *testing.B) {
	c := dial(b, startRedis(b).options)
	if err := c.rdb.ConfigSet(b.Context(), "appendfsync", "no").Err(); err != nil {
		b.Fatal(err)
	}
	for range 10_000 {
		enqueue(b, c)
	}
	m := newMaintenance(c, "one", defaultTiming, zap.NewNop())
	if err := m.tick(b.Context()); err != nil { // the first one reads all jobs
		b.Fatal(err)
	}
	before := commands(b, c)
	for b.Loop() {
		if err := m.tick(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(commands(b, c)-before)/float64(b.N), "commands/tick")
}
