package queue

import (
	"testing"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// TestWorkersDie ends a job that no worker survives.
func TestWorkersDie(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		id := enqueue(t, c)
		short := quick
		short.lease = time.Millisecond
		deaths := 0
		for {
			a, err := c.acquire(t.Context(), id, "mortal", short, nil)
			if err != nil {
				t.Fatal(err)
			}
			if a != nil {
				deaths++
			}
			if job, err := c.Job(t.Context(), id); err != nil || job.State.Terminal() {
				if err != nil || job.Error == nil || job.Error.Code != transfer.CodeWorkerLost || deaths != maxCrashes+1 {
					t.Errorf("after %d deaths the job is %+v, %v", deaths, job, err)
				}
				return
			}
		}
	})
}

// TestWorkersDieButProgress counts no death before progress: work of days may see many. What was done before a ledger was begun
// anew is none.
func TestWorkersDieButProgress(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		id := enqueue(t, c)
		short := quick
		short.lease = time.Millisecond
		for i := range int64(2 * maxCrashes) {
			saveOnce(t, c, id, short, transfer.Checkpoint{Entries: entries(i, 1)})
		}
		for range maxCrashes {
			saveOnce(t, c, id, short, transfer.Checkpoint{Reset: true, Entries: entries(0, 1)})
		}
		for job, err := range c.Watch(t.Context(), id) {
			if err != nil {
				t.Fatal(err)
			}
			if job.State.Terminal() {
				if job.Error == nil || job.Error.Code != transfer.CodeWorkerLost || job.Attempts != 3*maxCrashes {
					t.Errorf("the job is %+v", job)
				}
				return
			}
			if _, err := c.acquire(t.Context(), id, "mortal", short, nil); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// saveOnce takes a job up when the last worker's lease has lapsed, saves, and dies.
func saveOnce(t *testing.T, c *Client, id string, timing timing, at transfer.Checkpoint) {
	t.Helper()
	for {
		a, err := c.acquire(t.Context(), id, "mortal", timing, nil)
		if err != nil {
			t.Fatal(err)
		}
		if a == nil {
			continue
		}
		if err := a.Save(t.Context(), &at); err != nil {
			t.Fatal(err)
		}
		return
	}
}
