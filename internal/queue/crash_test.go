package queue

import (
	"testing"
	"time"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
)

// crashUntilEnd lets workers die under a job until it ends, and returns the job and how many died.
func crashUntilEnd(t *testing.T, c *Client, id string) (job transfer.Job, deaths int) {
	t.Helper()
	transfertest.Until(t, "the job has ended", func() bool {
		a, err := c.acquire(t.Context(), id, anyEpoch, "w", withLease(time.Millisecond), nil)
		if err != nil {
			t.Fatal(err)
		}
		if a != nil {
			deaths++
		}
		if job, err = c.Job(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		return job.State.Terminal()
	})
	return job, deaths
}

// TestJobThatKillsItsWorkersFails: a job fails after maxCrashes+1 workers died without progress.
func TestJobThatKillsItsWorkersFails(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		job, deaths := crashUntilEnd(t, c, enqueue(t, c))
		if job.Error == nil || job.Error.Code != transfer.CodeWorkerLost || deaths != maxCrashes+1 {
			t.Errorf("got the error %+v after %d deaths, want %s after %d",
				job.Error, deaths, transfer.CodeWorkerLost, maxCrashes+1)
		}
	})
}

// TestWorkersThatAreAliveEndARowOfCrashes: a worker that was stopped or cut off loses its job, and
// ends its attempt later, or one stops and releases the job. The job has not killed them.
func TestWorkersThatAreAliveEndARowOfCrashes(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		id := enqueue(t, c)
		lost := acquire(t, c, id, withLease(time.Millisecond))
		for range 2 * maxCrashes {
			next := acquire(t, c, id, withLease(time.Millisecond))
			for range 2 { // it may be called again
				if _, err := lost.writeOutcome(t.Context(), lost.fenced("test")); err != nil {
					t.Fatal(err)
				}
			}
			lost = next
		}
		for range maxCrashes - 1 {
			acquire(t, c, id, withLease(time.Millisecond))
		}
		drained := transfer.Errorf(transfer.CodeDrained, "", "test")
		if _, err := acquire(t, c, id, quick).writeOutcome(t.Context(), drained); err != nil {
			t.Fatal(err)
		}
		if _, deaths := crashUntilEnd(t, c, id); deaths != maxCrashes+1 {
			t.Errorf("got %d deaths until the job failed, want %d", deaths, maxCrashes+1)
		}
	})
}

// TestProgressResetsTheCrashes: only crashes since the last progress count, because a job that runs
// for days may survive many. Chunks that are done again after a reset of the ledger are no
// progress.
func TestProgressResetsTheCrashes(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		id := enqueue(t, c)
		saveAndCrash := func(at transfer.Checkpoint) {
			t.Helper()
			if err := acquire(t, c, id, withLease(time.Millisecond)).Save(t.Context(), &at); err != nil {
				t.Fatal(err)
			}
		}
		for i := range int64(2 * maxCrashes) {
			saveAndCrash(transfer.Checkpoint{Entries: entries(i, 1)})
		}
		for range maxCrashes {
			saveAndCrash(transfer.Checkpoint{Reset: true, Entries: entries(0, 1)})
		}
		job, _ := crashUntilEnd(t, c, id)
		if job.Error == nil || job.Error.Code != transfer.CodeWorkerLost || job.Attempts != 3*maxCrashes {
			t.Errorf("got the error %+v after %d attempts, want %s after %d",
				job.Error, job.Attempts, transfer.CodeWorkerLost, 3*maxCrashes)
		}
	})
}

// TestProgressOfPartsResetsTheCrashes: a migration has no ledger, and its drives may be copied
// for days. A retry copies them again, and that is progress, too.
func TestProgressOfPartsResetsTheCrashes(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		job, err := c.Enqueue(t.Context(), newMigrationSpec())
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			for done := range int64(2 * maxCrashes) {
				var at transfer.Checkpoint
				at.Progress.Bytes.Done = done + 1
				if err := acquire(t, c, job.ID, withLease(time.Millisecond)).Save(t.Context(), &at); err != nil {
					t.Fatal(err)
				}
			}
			if _, deaths := crashUntilEnd(t, c, job.ID); deaths != maxCrashes {
				t.Errorf("got %d deaths without progress until the job failed, want %d", deaths, maxCrashes)
			}
			if _, err := c.Retry(t.Context(), job.ID); err != nil {
				t.Fatal(err)
			}
		}
	})
}
