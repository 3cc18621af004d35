package queue

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/transfer"
)

// newEntries is n items of a batch.
func newEntries(n int) []transfer.BatchEntry {
	entries := make([]transfer.BatchEntry, n)
	for i := range entries {
		spec := newSpec()
		spec.Source.Path = "/images/" + strconv.Itoa(i)
		e := &entries[i]
		e.Key, e.Spec = spec.Source.Path, &spec
		e.Item = transfer.BatchItem{
			Kind: spec.Kind, Source: spec.Source.String(), Target: spec.Target.String(), State: transfer.Queued,
			Size: 1 << 30, Job: NewID(),
		}
	}
	return entries
}

func createBatch(t *testing.T, c *Client, plan string, entries []transfer.BatchEntry) string {
	t.Helper()
	id, exists, err := c.CreateBatch(t.Context(), transfer.NewBatch{Plan: plan, Fingerprint: plan, Entries: entries})
	if err != nil || exists {
		t.Fatalf("got %t, %v; want a new batch", exists, err)
	}
	return id
}

func getBatch(t *testing.T, c *Client, id string) transfer.Batch {
	t.Helper()
	b, err := c.Batch(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestTenThousandItemsAreEnqueuedInSeconds: at 2,000 a second or more on a host that does nothing
// else. The limits leave room for a busy one. Then a watcher reads them in less than a second.
func TestTenThousandItemsAreEnqueuedInSeconds(t *testing.T) {
	const n, limit = 10_000, 20 * time.Second
	c := dial(t, startRedis(t).options)
	entries := newEntries(n)
	began := time.Now()
	id := createBatch(t, c, "plan", entries)
	created := time.Since(began)
	if err := c.EnqueueBatch(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	t.Logf("recorded in %s, all enqueued in %s: %.0f a second", created, took, n/took.Seconds())
	if took > limit {
		t.Errorf("got %s, want %s at most", took, limit)
	}
	v := newBatchView(c, id)
	for _, step := range []string{"first read", "read again"} {
		began = time.Now()
		if err := v.refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s in %s", step, time.Since(began))
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("a watcher reads the batch in %s, want 3 s at most", took)
	}
	if v.batch.Totals.Queued != n || v.batch.State != transfer.BatchRunning {
		t.Errorf("got %+v, %s; want %d queued", v.batch.Totals, v.batch.State, n)
	}
	jobs, err := c.Jobs(t.Context(), Filter{})
	if err != nil || len(jobs) != n || jobs[0].Batch != id {
		t.Fatalf("got %d jobs (%v), want %d of batch %s", len(jobs), err, n, id)
	}
	pending, err := c.rdb.LLen(t.Context(), pendingKey("default")).Result()
	if err != nil || pending != n {
		t.Errorf("got %d triggers (%v), want %d", pending, err, n)
	}
}

// TestEnqueuingABatchAgainChangesNothing: a client that died is followed by another, which may
// begin before the place where the first one stopped.
func TestEnqueuingABatchAgainChangesNothing(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		entries := newEntries(3)
		id := createBatch(t, c, "plan", entries)
		if err := c.enqueuePage(t.Context(), id, 0, slices.Clone(entries[:2])); err != nil { // and dies
			t.Fatal(err)
		}
		b := &batches{client: c}
		if err := c.schedule(t.Context(), keyOpenBatches, 0, id); err != nil {
			t.Fatal(err)
		}
		if err := b.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		jobs, err := c.Jobs(t.Context(), Filter{})
		if err != nil || len(jobs) != 3 {
			t.Errorf("got %d jobs (%v), want 3", len(jobs), err)
		}
		if left, err := c.rdb.ZCard(t.Context(), keyOpenBatches).Result(); left != 0 || err != nil {
			t.Errorf("got %d open batches (%v), want none", left, err)
		}
	})
}

// TestOnePlanIsOneBatch while the batch has not ended, and a new one after that.
func TestOnePlanIsOneBatch(t *testing.T) {
	c := dial(t, startRedis(t).options)
	first := createBatch(t, c, "plan", newEntries(2))
	if running, err := c.RunningBatch(t.Context(), "plan"); running != first || err != nil {
		t.Errorf("got %q, %v; want the batch %s", running, err, first)
	}
	again := transfer.NewBatch{Plan: "plan", Fingerprint: "plan", Entries: newEntries(2)}
	id, exists, err := c.CreateBatch(t.Context(), again)
	if id != first || !exists || err != nil {
		t.Errorf("got %s, %t, %v; want the first batch %s", id, exists, err, first)
	}
	if err := c.CancelBatch(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if second := createBatch(t, c, "plan", newEntries(2)); second == first {
		t.Errorf("got the batch %s, which has ended, want a new one", second)
	}
}

// TestAnItemOfTwoBatchesHasOneJob: the second batch waits for the job of the first.
func TestAnItemOfTwoBatchesHasOneJob(t *testing.T) {
	c := dial(t, startRedis(t).options)
	first := createBatch(t, c, "one", newEntries(2))
	second := createBatch(t, c, "two", newEntries(3))
	for _, id := range []string{first, second} {
		if err := c.EnqueueBatch(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	jobs, err := c.Jobs(t.Context(), Filter{})
	if err != nil || len(jobs) != 3 {
		t.Errorf("got %d jobs (%v), want 3", len(jobs), err)
	}
	a, b := getBatch(t, c, first), getBatch(t, c, second)
	if a.Items[0].Job != b.Items[0].Job || a.Items[1].Job != b.Items[1].Job {
		t.Errorf("got the jobs %s and %s, want one", a.Items[0].Job, b.Items[0].Job)
	}
	if err := c.CancelBatch(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	if a, b = getBatch(t, c, first), getBatch(t, c, second); a.Totals.Queued != 2 || b.State != transfer.BatchCanceled {
		t.Errorf("got %+v, %s; want the jobs of the first batch to go on, and the second canceled", a.Totals, b.State)
	}
}

// TestAPausedBatchEnqueuesNothing until it is resumed; a canceled one until it is retried.
func TestAPausedBatchEnqueuesNothing(t *testing.T) {
	for name, hold := range map[string]struct {
		stop, start func(*Client, context.Context, string) error
		state       transfer.BatchState
	}{
		"paused": {(*Client).PauseBatch, (*Client).ResumeBatch, transfer.BatchPaused},
		"canceled": {(*Client).CancelBatch, func(c *Client, ctx context.Context, id string) error {
			_, err := c.RetryBatch(ctx, id, nil)
			return err
		}, transfer.BatchCanceled},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, startRedis(t).options)
			id := createBatch(t, c, "plan", newEntries(2))
			if err := hold.stop(c, t.Context(), id); err != nil {
				t.Fatal(err)
			}
			if err := c.EnqueueBatch(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			jobs, err := c.Jobs(t.Context(), Filter{})
			if b := getBatch(t, c, id); len(jobs) != 0 || err != nil || b.State != hold.state {
				t.Errorf("got %d jobs (%v), batch %s; want none, %s", len(jobs), err, b.State, hold.state)
			}
			if err := hold.start(c, t.Context(), id); err != nil {
				t.Fatal(err)
			}
			if jobs, err = c.Jobs(t.Context(), Filter{}); len(jobs) != 2 || err != nil {
				t.Errorf("after that: got %d jobs (%v), want 2", len(jobs), err)
			}
		})
	}
}

// TestRetryOfABatchChangesOptions: of the failed jobs and of those that were never enqueued.
func TestRetryOfABatchChangesOptions(t *testing.T) {
	c := dial(t, startRedis(t).options)
	id := createBatch(t, c, "plan", newEntries(2))
	if err := c.EnqueueBatch(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if err := c.CancelBatch(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	n, err := c.RetryBatch(t.Context(), id, func(s *transfer.Spec) error { s.LimitRate = 7; return nil })
	if n != 2 || err != nil {
		t.Fatalf("got %d, %v; want 2 items again", n, err)
	}
	for _, item := range getBatch(t, c, id).Items {
		r, err := c.record(t.Context(), item.Job)
		if err != nil || r.state != transfer.Queued || r.spec.LimitRate != 7 {
			t.Errorf("got %s, limit %d (%v); want queued with the new limit", r.state, r.spec.LimitRate, err)
		}
	}
}

// TestABatchKeepsTheOutcomesOfPrunedJobs, and is deleted with the last of its jobs.
func TestABatchKeepsTheOutcomesOfPrunedJobs(t *testing.T) {
	c := dial(t, startRedis(t).options)
	id := createBatch(t, c, "plan", newEntries(2))
	if err := c.EnqueueBatch(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	b := getBatch(t, c, id)
	if _, err := c.Cancel(t.Context(), b.Items[0].Job); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Prune(t.Context(), PruneOptions{}); n != 1 || err != nil {
		t.Fatalf("got %d, %v; want 1 pruned job", n, err)
	}
	if b = getBatch(t, c, id); b.Items[0].State != transfer.Canceled || b.Items[0].Error == nil {
		t.Errorf("got %+v, want the canceled item with its error", b.Items[0])
	}
	if n, err := c.RetryBatch(t.Context(), id, nil); n != 0 || err != nil {
		t.Errorf("got %d, %v; want no item again, because a pruned job cannot continue", n, err)
	}
	if err := c.CancelBatch(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Prune(t.Context(), PruneOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Batch(t.Context(), id); transfer.CodeOf(err) != transfer.CodeNotFound {
		t.Errorf("got %v, want no batch without jobs", err)
	}
	if list, err := c.Batches(t.Context(), 0); len(list) != 0 || err != nil {
		t.Errorf("got %d batches (%v), want none", len(list), err)
	}
}

// fakeInspector answers with the path of each query, or panics.
type fakeInspector struct{}

func (fakeInspector) Inspect(_ context.Context, queries []transfer.FileQuery) ([]transfer.FileReport, error) {
	reports := make([]transfer.FileReport, len(queries))
	for i := range queries {
		if queries[i].Source == "panic" {
			panic("an inspection")
		}
		reports[i].Names = []string{queries[i].Pattern}
	}
	return reports, nil
}

// TestAWorkerInspectsAlthoughAllItsSlotsAreTaken, more queries than a request has, and again after
// a panic.
func TestAWorkerInspectsAlthoughAllItsSlotsAreTaken(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		inspecting := c.Inspector(transfer.DefaultQueue)
		if _, err := inspecting.Inspect(t.Context(), make([]transfer.FileQuery, 1)); transfer.CodeOf(err) !=
			transfer.CodeUnreachable {
			t.Errorf("without a worker: got %v, want unreachable", err)
		}
		s := NewServer(c, ServerConfig{
			Name: "w", Queues: []string{transfer.DefaultQueue}, Inspector: fakeInspector{}, Log: zap.NewNop(),
		})
		if err := s.announce(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		wait := s.startInspections(ctx, func(err error) { t.Error(err) })
		defer func() { stop(); wait() }()
		queries := make([]transfer.FileQuery, inspectPage+1)
		for i := range queries {
			queries[i].Pattern = fmt.Sprint(i)
		}
		_, err := inspecting.Inspect(t.Context(), []transfer.FileQuery{{Source: "panic"}})
		if transfer.CodeOf(err) != transfer.CodeInternal {
			t.Errorf("got %v, want an internal error", err)
		}
		reports, err := inspecting.Inspect(t.Context(), queries)
		if err != nil || len(reports) != len(queries) || reports[inspectPage].Names[0] != fmt.Sprint(inspectPage) {
			t.Errorf("got %d reports (%v), want %d in order", len(reports), err, len(queries))
		}
	})
}
