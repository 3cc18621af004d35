package worker

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// lapsingStore is a store that is unreachable after a while, and later says that another worker has
// the job.
type lapsingStore struct {
	*memoryStore
	mu             sync.Mutex
	outage, fenced time.Time
	last           time.Time // when the last save that succeeded began
}

func (s *lapsingStore) Save(ctx context.Context, c *transfer.Checkpoint) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	switch {
	case now.After(s.fenced):
		return failure(transfer.CodeFenced)
	case now.After(s.outage):
		return failure(transfer.CodeUnreachable)
	}
	s.last = now
	return s.memoryStore.Save(ctx, c)
}

// requireLease fails the test if a call that changes the target begins when the lease may have
// lapsed.
func (s *lapsingStore) requireLease(t *testing.T, what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if since := time.Since(s.last); since >= provenFor {
		t.Errorf("%s %s after the last save, want less than the time of a proof", what, since)
	}
}

// guarded is a sink that requires the lease for each call that changes something.
type guarded struct {
	*memImage
	t      *testing.T
	store  *lapsingStore
	commit func(ctx context.Context, owned func(context.Context) error) error
}

func (g *guarded) WriteChunk(ctx context.Context, c transfer.Chunk, p []byte) error {
	g.store.requireLease(g.t, "written")
	return g.memImage.WriteChunk(ctx, c, p)
}

func (g *guarded) Commit(ctx context.Context, m *transfer.Manifest, owned func(context.Context) error) error {
	g.store.requireLease(g.t, "committed")
	if g.commit != nil {
		if err := g.commit(ctx, owned); err != nil {
			return err
		}
	}
	return g.memImage.Commit(ctx, m, owned)
}

func (g *guarded) Discard(ctx context.Context) error {
	g.store.requireLease(g.t, "discarded")
	return g.memImage.Discard(ctx)
}

// TestLostWorkerChangesNothing: while the store is unreachable and the job is lost, no failing call
// to the target is repeated once another worker may own the job.
func TestLostWorkerChangesNothing(t *testing.T) {
	slow := func(code transfer.Code) func(context.Context, transfer.Chunk, int) error {
		return func(ctx context.Context, _ transfer.Chunk, _ int) error {
			if err := sleep(ctx, 3*time.Second); err != nil {
				return err
			}
			return failure(code)
		}
	}
	for name, prepare := range map[string]func(j *job, source *flaky, sink *guarded){
		"retry": func(_ *job, _ *flaky, sink *guarded) { sink.onWrite = slow(transfer.CodeTimeout) },
		"busy":  func(_ *job, _ *flaky, sink *guarded) { sink.onWrite = slow(transfer.CodeConflict) },
		"rewrite": func(_ *job, _ *flaky, sink *guarded) {
			sink.onRead = func(ctx context.Context, _ transfer.Chunk, _ int) error { return sleep(ctx, 4*time.Second) }
			sink.corruptWrite = flip(1 << 30)
		},
		"commit again": func(_ *job, _ *flaky, sink *guarded) {
			sink.commit = func(ctx context.Context, _ func(context.Context) error) error {
				return slow(transfer.CodeServer)(ctx, transfer.Chunk{}, 0)
			}
		},
		"rename": func(_ *job, _ *flaky, sink *guarded) { // after a long time in Commit
			sink.commit = func(ctx context.Context, owned func(context.Context) error) error {
				_ = sleep(context.WithoutCancel(ctx), time.Minute)
				return owned(ctx)
			}
		},
		"discard": func(_ *job, source *flaky, _ *guarded) {
			source.fail = func(call string, _ int) error {
				_ = sleep(context.Background(), 20*time.Second)
				return failure(transfer.CodeSourceChanged)
			}
		},
		"discard before the next save": func(_ *job, source *flaky, sink *guarded) {
			sink.store.fenced = time.Now().Add(saveEvery / 2)
			source.fail = func(string, int) error {
				_ = sleep(context.Background(), saveEvery*3/4)
				return failure(transfer.CodeSourceChanged)
			}
		},
		"provision again": func(j *job, _ *flaky, sink *guarded) {
			j.opener.drive = "uuid"
			j.opener.open = func(what string, _ int) error {
				if what != "provision" {
					return nil
				}
				sink.store.requireLease(t, "provisioned")
				_ = sleep(context.Background(), 3*time.Second)
				return failure(transfer.CodeTimeout)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				started := time.Now()
				store := &lapsingStore{memoryStore: new(memoryStore), outage: started.Add(time.Second / 2),
					fenced: started.Add(25 * time.Second)}
				m := newMemImage(nil)
				source, sink := newFlaky(newMemImage(randomBytes(20*chunkSize)), never),
					&guarded{memImage: m, t: t, store: store}
				j := newJob(t, source, sink)
				prepare(j, source, sink)
				err := j.runWith(t.Context(), nil, j.opener, store)
				if code := transfer.CodeOf(err); code != transfer.CodeFenced && code != transfer.CodeSourceChanged {
					t.Errorf("got %v, want code fenced or source_changed", err)
				}
				if m.commits+m.discards > 0 {
					t.Errorf("got %d commits and %d discards of a job that another worker may have, want none",
						m.commits, m.discards)
				}
			})
		})
	}
}

// TestCallInFlightIsCutAndRepeated: if the store is unreachable for longer than a proof lasts,
// calls in flight are cut when the proof lapses. None begins before the next renewal, and none
// counts as a retry.
func TestCallInFlightIsCutAndRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		image, sink := randomBytes(4*chunkSize), newMemImage(nil)
		j := newJob(t, newMemImage(image), sink)
		began := time.Now()
		const outage = time.Hour
		j.store.onSave = func(int) error {
			if since := time.Since(began); since > time.Second/2 && since < outage {
				return failure(transfer.CodeUnreachable)
			}
			return nil
		}
		var cut atomic.Int64
		sink.onWrite = func(ctx context.Context, _ transfer.Chunk, n int) error {
			switch since := time.Since(began); {
			case since >= outage:
				return nil
			case since >= provenFor || n > 1:
				t.Errorf("write %d began after %s, want none while there is no proof", n, since)
			}
			err := sleep(ctx, 2*outage)
			cut.Store(int64(time.Since(began)))
			return err
		}
		p := j.mustRun()
		checkContent(t, sink, image)
		if got := time.Duration(cut.Load()); got != provenFor || p.Retries.Sum() != 0 {
			t.Errorf("calls were cut after %s with %d retries, want %s and none", got, p.Retries.Sum(), provenFor)
		}
	})
}
