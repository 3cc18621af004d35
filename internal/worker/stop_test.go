package worker

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/transfer"
)

// TestCancelEndsWaits: for a busy drive or the next retry, at once, and the done chunks are saved.
func TestCancelEndsWaits(t *testing.T) {
	for _, code := range []transfer.Code{transfer.CodeConflict, transfer.CodeServer} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			sink := newMemImage(nil)
			sink.onWrite = func(_ context.Context, c transfer.Chunk, _ int) error {
				if c.Index < 10 {
					return nil
				}
				return failure(code)
			}
			const lanes = 4
			j := newJob(t, newMemImage(randomBytes(40*chunkSize)), sink)
			j.spec.Concurrency = lanes
			var ended time.Time
			time.AfterFunc(5*time.Minute, func() {
				ended = time.Now()
				cancel(failure(transfer.CodeWaitTimeout))
			})
			err := j.run(ctx, nil)
			if transfer.CodeOf(err) != transfer.CodeWaitTimeout || time.Since(ended) > 0 {
				t.Errorf("%s: got %v, %s after the cancel; want code %s at once",
					code, err, time.Since(ended), transfer.CodeWaitTimeout)
			}
			// Some written chunks may not have been read back when the drive became busy.
			p, saved := j.store.saved.Progress, len(j.store.saved.Entries)
			if saved > 10 || saved <= 10-lanes || p.Chunks.Done != int64(saved) || p.Retries.Sum() == 0 {
				t.Errorf("%s: got %d chunks saved, %+v, %+v; want those done, at most 10",
					code, saved, p.Chunks, p.Retries)
			}
		})
	}
}

// TestDrainedWorkerBeginsNoChunk: if it is stopping before the attempt begins.
func TestDrainedWorkerBeginsNoChunk(t *testing.T) {
	drain := make(chan struct{})
	close(drain)
	for _, source := range []transfer.Source{newMemImage(randomBytes(9 * chunkSize)),
		newStream(randomBytes(9 * chunkSize))} {
		sink := newMemImage(nil)
		err := newJob(t, source, sink).run(t.Context(), drain)
		if transfer.CodeOf(err) != transfer.CodeDrained || sink.total(sink.writes) != 0 || sink.commits != 0 ||
			sink.discards != 0 {
			t.Errorf("got %v and %d writes, want code drained and none", err, sink.total(sink.writes))
		}
	}
}

// TestDrainFinishesSlowChunks: however long they take and whatever fails, on targets with and
// without an order.
func TestDrainFinishesSlowChunks(t *testing.T) {
	for _, ordered := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			const lanes = 6
			m := newMemImage(nil)
			m.onWrite = func(ctx context.Context, c transfer.Chunk, n int) error {
				if err := sleep(ctx, time.Duration(c.Index+1)*time.Minute); err != nil {
					return err
				}
				if n == 1 {
					return failure(transfer.CodeNetwork)
				}
				return nil
			}
			var sink transfer.Sink = m
			if ordered {
				sink = orderedSink{m}
			}
			image := randomBytes(40 * chunkSize)
			j := newJob(t, newMemImage(image), sink)
			j.spec.Concurrency, j.spec.ImageDigest = lanes, true
			drain := make(chan struct{})
			time.AfterFunc(time.Second, func() { close(drain) })
			if err := j.run(t.Context(), drain); transfer.CodeOf(err) != transfer.CodeDrained {
				t.Errorf("got %v, want code %s", err, transfer.CodeDrained)
			}
			if len(m.order) != lanes || len(j.store.saved.Entries) != lanes || m.commits != 0 {
				t.Errorf("got %d chunks written and %d saved, want %d of each",
					len(m.order), len(j.store.saved.Entries), lanes)
			}
			m.onWrite, m.order = nil, nil
			p := j.mustRun()
			checkContent(t, m, image)
			if want := map[bool]int{false: 40 - lanes, true: 40}[ordered]; len(m.order) != want ||
				p.Digest.Image != sha256Hex(image) {
				t.Errorf("the second attempt wrote %d chunks, not %d", len(m.order), want)
			}
		})
	}
}

// TestCrashCostIsBounded: to maxUnsaved chunks and those in flight, however long a chunk or a save
// takes. Where saves are quick, the median is half of that.
func TestCrashCostIsBounded(t *testing.T) {
	for _, chunk := range []time.Duration{100 * time.Microsecond, 10 * time.Millisecond, time.Second} {
		for _, save := range []time.Duration{0, 200 * time.Microsecond, 20 * time.Millisecond, 3 * time.Second} {
			synctest.Test(t, func(t *testing.T) {
				const lanes = 4
				sink := newMemImage(nil)
				j := newJob(t, newMemImage(randomBytes(1000*chunkSize)), sink)
				var costs []int
				sink.onWrite = func(ctx context.Context, _ transfer.Chunk, _ int) error {
					if err := sleep(ctx, chunk); err != nil {
						return err
					}
					j.store.mu.Lock()
					defer j.store.mu.Unlock()
					sink.mu.Lock()
					defer sink.mu.Unlock()
					costs = append(costs, len(sink.order)-len(j.store.saved.Entries))
					return nil
				}
				j.spec.Concurrency = lanes
				if err := j.runWith(t.Context(), nil, j.opener, slowStore{j.store, save}); err != nil {
					t.Fatal(err)
				}
				slices.Sort(costs)
				if most := costs[len(costs)-1]; most > maxUnsaved+lanes || len(j.store.saved.Entries) != 1000 {
					t.Errorf("%s a chunk, %s a save: got %d unsaved at once, %d saved; want at most %d, 1000",
						chunk, save, most, len(j.store.saved.Entries), maxUnsaved+lanes)
				}
				if median := costs[len(costs)/2]; save < chunk && median >= maxUnsaved/2 {
					t.Errorf("%s a chunk, %s a save: got a median of %d unsaved chunks, want less than %d",
						chunk, save, median, maxUnsaved/2)
				}
			})
		}
	}
}

// slowStore is a store whose saves take a while.
type slowStore struct {
	*memoryStore
	took time.Duration
}

func (s slowStore) Save(ctx context.Context, c *transfer.Checkpoint) error {
	if err := sleep(ctx, s.took); err != nil {
		return err
	}
	return s.memoryStore.Save(ctx, c)
}

// TestChunksWithoutTheStoreAreBounded: to those that a crash may cost, and none begins once another
// worker may have the job.
func TestChunksWithoutTheStoreAreBounded(t *testing.T) {
	for took, most := range map[time.Duration]int{
		time.Millisecond: maxUnsaved, time.Second: int(provenFor/time.Second) * 4,
	} {
		synctest.Test(t, func(t *testing.T) {
			const lanes = 4
			sink := newMemImage(nil)
			j := newJob(t, newMemImage(randomBytes(1000*chunkSize)), sink)
			j.spec.Concurrency = lanes
			sink.onWrite = func(ctx context.Context, _ transfer.Chunk, _ int) error { return sleep(ctx, took) }
			var outage time.Time
			before, during := 0, 0
			j.store.onSave = func(int) error {
				n := sink.total(sink.writes)
				switch {
				case outage.IsZero() && n < 100:
					return nil
				case outage.IsZero():
					outage, before = time.Now(), n
				case time.Since(outage) > time.Hour:
					if during == 0 {
						during = n - before
					}
					return nil
				}
				return failure(transfer.CodeUnreachable)
			}
			j.mustRun()
			if during > most+2*lanes {
				t.Errorf("got %d chunks in an hour without the store, want about %d", during, most)
			}
		})
	}
}

// TestFencedAttemptCompletesNothing: although all chunks are copied.
func TestFencedAttemptCompletesNothing(t *testing.T) {
	for last := 3; last <= 4; last++ { // before the first chunk, then before the target is completed
		sink := newMemImage(nil)
		j := newJob(t, newMemImage(randomBytes(3*chunkSize)), sink)
		j.store.onSave = func(n int) error {
			if n >= last {
				return failure(transfer.CodeFenced)
			}
			return nil
		}
		j.mustFail(transfer.CodeFenced)
		if sink.commits != 0 || sink.discards != 0 {
			t.Errorf("save %d: got %d commits and %d discards, want none", last, sink.commits, sink.discards)
		}
	}
}

// TestFinalStoreErrorEndsTheAttempt: before the first write.
func TestFinalStoreErrorEndsTheAttempt(t *testing.T) {
	for _, code := range []transfer.Code{transfer.CodeCanceled, transfer.CodeFenced, transfer.CodeNotFound,
		transfer.CodeNoSpace} {
		sink := newMemImage(nil)
		j := newJob(t, newMemImage(randomBytes(3*chunkSize)), sink)
		j.store.onSave = func(int) error { return failure(code) }
		j.mustFail(code)
		if sink.total(sink.writes) != 0 || len(j.opener.opened) != 0 {
			t.Errorf("%s: got %d writes and calls %v, want none", code, sink.total(sink.writes), j.opener.opened)
		}
	}
}

// unloadableStore is a store whose Load fails at first.
type unloadableStore struct {
	memoryStore
	loads int
	fail  func(n int) error
}

func (s *unloadableStore) Load(ctx context.Context) (transfer.Checkpoint, error) {
	if s.loads++; s.fail(s.loads) != nil {
		return transfer.Checkpoint{}, s.fail(s.loads)
	}
	return s.memoryStore.Load(ctx)
}

// TestLoadWaitsForTheStore: longer than for an endpoint. A lost job opens nothing.
func TestLoadWaitsForTheStore(t *testing.T) {
	for code, want := range map[transfer.Code]transfer.Code{transfer.CodeUnreachable: "",
		transfer.CodeFenced: transfer.CodeFenced} {
		synctest.Test(t, func(t *testing.T) {
			j := newJob(t, newMemImage(randomBytes(10)), newMemImage(nil))
			began := time.Now()
			store := &unloadableStore{fail: func(int) error {
				if time.Since(began) < time.Hour {
					return failure(code)
				}
				return nil
			}}
			w := New(Config{Opener: j.opener, Policy: j.policy, Log: zap.NewNop()})
			err := w.Run(t.Context(), nil, Job{ID: "job", Spec: j.spec}, store)
			if transfer.CodeOf(err) != want || (want != "") != (j.opener.opened["source"] == 0) {
				t.Errorf("%s: got %v and calls %v, want code %q", code, err, j.opener.opened, want)
			}
		})
	}
}
