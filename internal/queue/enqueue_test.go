package queue

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
)

func enqueueOnce(t testing.TB, c *Client, spec transfer.Spec) (id string, exists bool) {
	t.Helper()
	job, exists, err := c.EnqueueOnce(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return job.ID, exists
}

// TestEqualSpecsAreOneUnfinishedJob: EnqueueOnce returns the last job of the same spec until that
// has ended or is pruned.
func TestEqualSpecsAreOneUnfinishedJob(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		spec := newSpec()
		first, exists := enqueueOnce(t, c, spec)
		if exists {
			t.Error("got an existing job, want a new one")
		}
		if again, exists := enqueueOnce(t, c, spec); again != first || !exists {
			t.Errorf("the same spec: got job %s, exists %v; want job %s", again, exists, first)
		}
		other := spec
		other.Name = "another"
		if id, exists := enqueueOnce(t, c, other); id == first || exists {
			t.Errorf("another spec: got job %s, exists %v; want a new job", id, exists)
		}
		forced := enqueue(t, c)
		if forced == first {
			t.Error("Enqueue: got the existing job, want a new one")
		}
		if again, exists := enqueueOnce(t, c, spec); again != forced || !exists {
			t.Errorf("after Enqueue: got job %s, exists %v; want the last job, %s", again, exists, forced)
		}
		if n, err := c.CancelAll(t.Context(), []transfer.State{transfer.Queued}); n != 3 || err != nil {
			t.Fatalf("got %d canceled jobs (%v), want 3", n, err)
		}
		second, exists := enqueueOnce(t, c, spec)
		if second == first || exists {
			t.Errorf("after the job ended: got job %s, exists %v; want a new job", second, exists)
		}
		if _, err := c.Cancel(t.Context(), second); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Prune(t.Context(), PruneOptions{}); n != 4 || err != nil {
			t.Fatalf("got %d pruned jobs (%v), want 4", n, err)
		}
		if n, err := c.rdb.HLen(t.Context(), keySpecs).Result(); n != 0 || err != nil {
			t.Errorf("got %d specs (%v), want none after all jobs are pruned", n, err)
		}
		if id, exists := enqueueOnce(t, c, spec); id == second || exists {
			t.Errorf("after the job was pruned: got job %s, exists %v; want a new job", id, exists)
		}
	})
}

// TestStoppingJobIsNotReused: EnqueueOnce returns a running job, but not one that is being
// canceled.
func TestStoppingJobIsNotReused(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		first, _ := enqueueOnce(t, c, newSpec())
		acquire(t, c, first, quick)
		if again, exists := enqueueOnce(t, c, newSpec()); again != first || !exists {
			t.Errorf("got job %s, exists %v; want the running job %s", again, exists, first)
		}
		if _, err := c.Cancel(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		if again, exists := enqueueOnce(t, c, newSpec()); again == first || exists {
			t.Errorf("got job %s, exists %v; want a new job", again, exists)
		}
	})
}

// TestConcurrentEnqueueOnceMakesOneJob: twenty clients that enqueue one spec at once get one job.
func TestConcurrentEnqueueOnceMakesOneJob(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		var all sync.WaitGroup
		ids := make([]string, 20)
		for i := range ids {
			all.Go(func() { ids[i], _ = enqueueOnce(t, c, newSpec()) })
		}
		all.Wait()
		for _, id := range ids {
			if id != ids[0] {
				t.Fatalf("got the jobs %q, want one", ids)
			}
		}
		if jobs, err := c.Jobs(t.Context(), Filter{}); err != nil || len(jobs) != 1 {
			t.Errorf("got %d jobs (%v), want 1", len(jobs), err)
		}
	})
}

// TestReservationOfADeadClientLapses: a client that died after it reserved a spec, and before it
// recorded the job, does not block the spec.
func TestReservationOfADeadClientLapses(t *testing.T) {
	c := dial(t, startRedis(t).options)
	spec := newSpec()
	key, err := spec.Fingerprint()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time as if the first answer had been lost
		if other, err := c.reserve(t.Context(), key, "", "dead"); other != "" || err != nil {
			t.Fatalf("got job %q (%v), want the reservation", other, err)
		}
	}
	if id, exists := enqueueOnce(t, c, spec); id == "dead" || exists {
		t.Errorf("got job %s, exists %v; want a new job", id, exists)
	}
}

// TestDeadlineEndsRunningAndQueuedJobs: a deadline ends a running job, and a job whose queue no
// worker serves. A retry has the whole time again.
func TestDeadlineEndsRunningAndQueuedJobs(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		spec := newSpec()
		spec.Deadline = transfer.Seconds(time.Second)
		job, err := c.Enqueue(t.Context(), spec)
		if err != nil || job.Deadline == nil || job.Deadline.Sub(job.CreatedAt) < 900*time.Millisecond {
			t.Fatalf("got %+v (%v), want a deadline of a second", job, err)
		}
		spec.Queue = "not-served"
		waits, err := c.Enqueue(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		var retry atomic.Bool // on a slow host the first deadline passes before the job starts
		serve(t, c, "one", func(ctx context.Context, _ <-chan struct{}, a *Attempt) error {
			if retry.Load() {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		})
		for _, id := range []string{job.ID, waits.ID} {
			if ended := await(t, c, id, transfer.Failed); ended.Error.Code != transfer.CodeDeadline {
				t.Errorf("got the error %+v, want %s", ended.Error, transfer.CodeDeadline)
			}
		}
		retry.Store(true)
		retried, err := c.Retry(t.Context(), job.ID)
		if err != nil || !retried.Deadline.After(time.Now()) {
			t.Errorf("got %+v (%v), want a deadline in the future", retried, err)
		}
		await(t, c, job.ID, transfer.Succeeded)
	})
}

// attempt makes an attempt of a new job.
func attempt(t *testing.T, c *Client) *Attempt {
	t.Helper()
	return acquire(t, c, enqueue(t, c), quick)
}

// TestWriterExcludesOtherJobs: many jobs may read a drive, or one may write it. The claim of a
// worker that does not renew it lapses.
func TestWriterExcludesOtherJobs(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		one, two, three := attempt(t, c), attempt(t, c), attempt(t, c)
		read := transfer.Claim{Endpoint: "zrh", Drive: "d"}
		write := transfer.Claim{Endpoint: "zrh", Drive: "d", Mark: "m"}
		claim := func(a *Attempt, c transfer.Claim) error {
			_, err := a.Claim(t.Context(), c)
			return err
		}
		for i, step := range []struct {
			a    *Attempt
			c    transfer.Claim
			code transfer.Code
		}{
			{one, read, ""}, {one, read, ""}, {two, read, ""}, {three, write, transfer.CodeConflict},
			{three, transfer.Claim{Endpoint: "zrh", Drive: "e", Mark: "m"}, ""},
			{three, transfer.Claim{Endpoint: "lvs", Drive: "d", Mark: "m"}, ""},
		} {
			if err := claim(step.a, step.c); transfer.CodeOf(err) != step.code {
				t.Errorf("step %d: got %v, want %q", i, err, step.code)
			}
		}
		writeOutcome(t, one, nil)
		wantCode(t, claim(three, write), transfer.CodeConflict)
		transfertest.Until(t, "the claim of job two lapses", func() bool {
			return transfer.CodeOf(claim(three, write)) != transfer.CodeConflict
		})
		wantCode(t, two.renewClaims(t.Context()), transfer.CodeConflict)
		wantCode(t, claim(two, write), transfer.CodeConflict)
		writeOutcome(t, three, nil)
		if err := claim(two, write); err != nil {
			t.Errorf("after job three has ended: got %v, want the claim", err)
		}
	})
}

// TestLostAttemptFreesNothing: a lost attempt does not free the claims of the attempt that has the
// job now.
func TestLostAttemptFreesNothing(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		lost, other := attempt(t, c), attempt(t, c)
		write := transfer.Claim{Endpoint: "zrh", Drive: "d", Mark: "m"}
		if _, err := lost.Claim(t.Context(), write); err != nil {
			t.Fatal(err)
		}
		if err := c.rdb.Del(t.Context(), leaseKey(lost.Job.ID)).Err(); err != nil {
			t.Fatal(err)
		}
		now, err := c.acquire(t.Context(), lost.Job.ID, anyEpoch, "another", lost.timing, nil)
		if err != nil || now == nil {
			t.Fatalf("got %v, %v; want an attempt", now, err)
		}
		if _, err := now.Claim(t.Context(), write); err != nil {
			t.Fatal(err)
		}
		writeOutcome(t, lost, transfer.Errorf(transfer.CodeServer, "", "injected"))
		_, err = other.Claim(t.Context(), write)
		wantCode(t, err, transfer.CodeConflict)
	})
}

// TestMarkShowsTheLastWriter: each claim returns the mark of the last writer. If a claim lapsed and
// another job has written the drive since, the renewal fails.
func TestMarkShowsTheLastWriter(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		claim := func(a *Attempt, mark, want string) {
			t.Helper()
			last, err := a.Claim(t.Context(), transfer.Claim{Endpoint: "zrh", Drive: "d", Mark: mark})
			if err != nil || last != want {
				t.Errorf("got the mark %q (%v), want %q", last, err, want)
			}
		}
		reader, one, two := attempt(t, c), attempt(t, c), attempt(t, c)
		claim(reader, "", "")
		reader.freeClaims(t.Context(), 0)
		claim(one, "one", "")
		if err := one.renewClaims(t.Context()); err != nil {
			t.Errorf("renewal: got %v, want no error", err)
		}
		freeDrive := func(a *Attempt) {
			if err := a.freeDrive(t.Context(), "zrh:d", 0); err != nil {
				t.Fatal(err)
			}
		}
		freeDrive(one)
		claim(reader, "", "one")
		freeDrive(reader)
		claim(two, "two", "one")
		freeDrive(two)
		wantCode(t, one.renewClaims(t.Context()), transfer.CodeConflict)
		wantCode(t, reader.renewClaims(t.Context()), transfer.CodeConflict)
		claim(one, "three", "two")
	})
}

// TestAddressesWithPasswordsAreRefused: a job whose address holds a password is not stored, and the
// error does not have the password.
func TestAddressesWithPasswordsAreRefused(t *testing.T) {
	c := dial(t, startRedis(t).options)
	spec := newSpec()
	spec.Source.Path = "https://ops:s3cret@images.example.com/disk.img"
	_, err := c.Enqueue(t.Context(), spec)
	if wantCode(t, err, transfer.CodeInvalid); strings.Contains(err.Error(), "s3cret") {
		t.Errorf("got %v, want an error without the password", err)
	}
	_, _, err = c.EnqueueOnce(t.Context(), spec)
	wantCode(t, err, transfer.CodeInvalid)
	if keys, err := c.rdb.Keys(t.Context(), "td:*").Result(); err != nil || len(keys) > 0 {
		t.Errorf("got the keys %q (%v), want none", keys, err)
	}
}
