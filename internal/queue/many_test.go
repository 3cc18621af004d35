package queue

import (
	"sync"
	"testing"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// TestListAndPrune goes through more jobs than one page holds.
func TestListAndPrune(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		const n = page + 20
		var last string
		for range n {
			last = enqueue(t, c)
		}
		jobs, err := c.Jobs(t.Context(), Filter{})
		if err != nil || len(jobs) != n || jobs[0].ID != last {
			t.Fatalf("%d jobs are listed, %v", len(jobs), err)
		}
		if jobs, err = c.Jobs(t.Context(), Filter{Limit: 3}); err != nil || len(jobs) != 3 {
			t.Errorf("%d jobs are listed, %v", len(jobs), err)
		}
		for _, j := range jobs {
			if _, err := c.Cancel(t.Context(), j.ID); err != nil {
				t.Fatal(err)
			}
		}
		if jobs, err = c.Jobs(t.Context(), Filter{States: []transfer.State{transfer.Canceled}}); err != nil || len(jobs) != 3 {
			t.Errorf("%d canceled jobs are listed, %v", len(jobs), err)
		}
		for want, o := range map[int]PruneOptions{0: {OlderThan: time.Hour}, 3: {}} {
			if want == 0 {
				o.States = []transfer.State{transfer.Failed}
			}
			if got, err := c.Prune(t.Context(), o); err != nil || got != want && want == 0 {
				t.Errorf("%d jobs were pruned, not %d (%v)", got, want, err)
			}
		}
		if jobs, err = c.Jobs(t.Context(), Filter{}); err != nil || len(jobs) != n-3 {
			t.Errorf("%d jobs are left, %v", len(jobs), err)
		}
	})
}

// TestTenThousandJobs is what people do with a long queue: list it, cancel it, forget it.
func TestTenThousandJobs(t *testing.T) {
	const n, limit = 10_000, 10 * time.Second
	c := dial(t, startRedis(t).options)
	syncs := func(when string) {
		if err := c.rdb.ConfigSet(t.Context(), "appendfsync", when).Err(); err != nil {
			t.Fatal(err)
		}
	}
	syncs("no") // what is measured comes after
	var clients sync.WaitGroup
	for range 20 {
		clients.Go(func() {
			for range n / 20 {
				if _, err := c.Enqueue(t.Context(), newSpec()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	clients.Wait()
	syncs("always")
	for _, step := range []struct {
		name string
		do   func() (int, error)
	}{
		{"listed", func() (int, error) {
			jobs, err := c.Jobs(t.Context(), Filter{})
			return len(jobs), err
		}},
		{"canceled", func() (int, error) { return c.CancelAll(t.Context(), []transfer.State{transfer.Queued}) }},
		{"pruned", func() (int, error) { return c.Prune(t.Context(), PruneOptions{}) }},
	} {
		began := time.Now()
		got, err := step.do()
		took := time.Since(began)
		t.Logf("%d jobs were %s in %s", got, step.name, took)
		if got != n || err != nil || took > limit {
			t.Errorf("%d jobs were %s in %s, %v", got, step.name, took, err)
		}
	}
}
