package worker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// late is how long bytes of a lost worker may arrive in these tests.
const late = 15 * time.Second

// takeOver runs a first attempt whose worker is lost after three chunks.
func (j *job) takeOver(sink *memImage) {
	const stored = 3
	j.t.Helper()
	sink.onWrite = func(_ context.Context, c transfer.Chunk, _ int) error {
		if c.Index >= stored {
			return failure(transfer.CodeFenced)
		}
		return nil
	}
	j.spec.Concurrency = 1
	j.mustFail(transfer.CodeFenced)
	sink.onWrite = nil
	clear(sink.reads)
	clear(sink.writes)
	j.store.Lease().TookOver(late)
	if got := len(j.store.saved.Entries); got != stored {
		j.t.Fatalf("the first attempt stored %d chunks, want %d", got, stored)
	}
}

// TestLateBytesAreFoundAndRewritten: bytes of the lost worker arrive over chunks of the first and
// of the second attempt.
func TestLateBytesAreFoundAndRewritten(t *testing.T) {
	for name, mode := range map[string]transfer.VerifyMode{
		"written": transfer.VerifyWritten, "full": transfer.VerifyFull, "none": transfer.VerifyNone,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				image, sink := randomBytes(6*chunkSize), newMemImage(nil)
				j := newJob(t, newMemImage(image), sink)
				j.takeOver(sink)
				j.spec.Verify = mode
				began := time.Now()
				time.AfterFunc(late-1, func() {
					sink.mu.Lock()
					defer sink.mu.Unlock()
					sink.data[1], sink.data[4*chunkSize+7] = 0, 0
				})
				j.mustRun()
				checkContent(t, sink, image)
				if took := time.Since(began); took < late || took > late+time.Second {
					t.Errorf("the job succeeded after %s, want the wait of %s to be over, and no more", took, late)
				}
			})
		})
	}
}

// TestWhatIsWrittenAfterTheWaitIsReadOnce: the wait overlaps with the copy, and chunks after it
// cost nothing extra.
func TestWhatIsWrittenAfterTheWaitIsReadOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const chunks, each = 20, 2 * time.Second
		image, sink := randomBytes(chunks*chunkSize), newMemImage(nil)
		j := newJob(t, newMemImage(image), sink)
		j.takeOver(sink)
		began, writes := time.Now(), make(map[int64]time.Duration)
		sink.onWrite = func(ctx context.Context, c transfer.Chunk, _ int) error {
			writes[c.Index] = time.Since(began)
			return sleep(ctx, each)
		}
		j.mustRun()
		checkContent(t, sink, image)
		if took := time.Since(began); took >= chunks*each {
			t.Errorf("took %s, want less than the copy's %s", took, chunks*each)
		}
		for i := range int64(chunks) {
			wrote, written := writes[i]
			want := 1
			if written && wrote < late {
				want = 2
			}
			if sink.reads[i] < want || written && sink.reads[i] > want {
				t.Errorf("chunk %d, written after %s (%v), was read %d times, want %d",
					i, wrote, written, sink.reads[i], want)
			}
		}
	})
}

// TestCleanTakeoverWaitsForNothing: in a first attempt and in a later one.
func TestCleanTakeoverWaitsForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		sink := newMemImage(nil)
		newJob(t, newMemImage(randomBytes(6*chunkSize)), sink).mustRun()
		if took := time.Since(began); took > 0 || sink.total(sink.reads) != 6 {
			t.Errorf("got %s and %d reads, want no wait and 6 reads", took, sink.total(sink.reads))
		}
	})
}

// TestDrainWhileBytesMayArrive: the job is handed back at once. The next attempt still reads back.
func TestDrainWhileBytesMayArrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		image, sink := randomBytes(6*chunkSize), newMemImage(nil)
		j := newJob(t, newMemImage(image), sink)
		j.takeOver(sink)
		drain := make(chan struct{})
		const after = 5 * time.Second
		time.AfterFunc(after, func() { close(drain) })
		began := time.Now()
		err := j.run(t.Context(), drain)
		if transfer.CodeOf(err) != transfer.CodeDrained || time.Since(began) != after {
			t.Errorf("after %s: got %v; want code %s after %s", time.Since(began), err, transfer.CodeDrained, after)
		}
		if sink.commits > 0 {
			t.Error("the target was completed before the wait was over, want no commit")
		}
		sink.data[0] = 0
		j.mustRun()
		checkContent(t, sink, image)
	})
}

// TestComparisonWaitsForNothing: a job that only compares has written nothing that could arrive
// late.
func TestComparisonWaitsForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		image := randomBytes(6 * chunkSize)
		j := newJob(t, newMemImage(image), newMemImage(append([]byte(nil), image...)))
		j.spec.Kind = transfer.Verify
		j.store.Lease().TookOver(late)
		began := time.Now()
		j.mustRun()
		if took := time.Since(began); took > 0 {
			t.Errorf("took %s, want no wait", took)
		}
	})
}
