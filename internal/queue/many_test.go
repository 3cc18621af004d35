package queue

import (
	"sync"
	"testing"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// TestListAndPruneReadAllPages: lists and prune handle more jobs than a page has.
func TestListAndPruneReadAllPages(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		const n = pageSize + 20
		var last string
		for range n {
			last = enqueue(t, c)
		}
		jobs, err := c.Jobs(t.Context(), Filter{})
		if err != nil || len(jobs) != n || jobs[0].ID != last {
			t.Fatalf("got %d jobs (%v), want %d with the newest first", len(jobs), err, n)
		}
		if jobs, err = c.Jobs(t.Context(), Filter{Limit: 3}); err != nil || len(jobs) != 3 {
			t.Errorf("limit 3: got %d jobs (%v)", len(jobs), err)
		}
		for _, j := range jobs {
			if _, err := c.Cancel(t.Context(), j.ID); err != nil {
				t.Fatal(err)
			}
		}
		canceled := Filter{States: []transfer.State{transfer.Canceled}}
		if jobs, err = c.Jobs(t.Context(), canceled); err != nil || len(jobs) != 3 {
			t.Errorf("got %d canceled jobs (%v), want 3", len(jobs), err)
		}
		for _, step := range []struct {
			options PruneOptions
			want    int
		}{
			{PruneOptions{OlderThan: time.Hour}, 0},
			{PruneOptions{States: []transfer.State{transfer.Failed}}, 0},
			{PruneOptions{}, 3},
		} {
			if got, err := c.Prune(t.Context(), step.options); err != nil || got != step.want {
				t.Errorf("prune %+v: got %d jobs (%v), want %d", step.options, got, err, step.want)
			}
		}
		if jobs, err = c.Jobs(t.Context(), Filter{}); err != nil || len(jobs) != n-3 {
			t.Errorf("after prune: got %d jobs (%v), want %d", len(jobs), err, n-3)
		}
	})
}

// TestTenThousandJobsTakeSeconds: listing, canceling and pruning 10,000 jobs takes up to 10 s each.
func TestTenThousandJobsTakeSeconds(t *testing.T) {
	const n, limit = 10_000, 10 * time.Second
	c := dial(t, startRedis(t).options)
	setFsync := func(when string) {
		if err := c.rdb.ConfigSet(t.Context(), "appendfsync", when).Err(); err != nil {
			t.Fatal(err)
		}
	}
	setFsync("no") // this part is not measured
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
	setFsync("always")
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
		t.Logf("%d jobs %s in %s", got, step.name, took)
		if got != n || err != nil || took > limit {
			t.Errorf("got %d jobs %s in %s (%v), want %d within %s", got, step.name, took, err, n, limit)
		}
	}
}
