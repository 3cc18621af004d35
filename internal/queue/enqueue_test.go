package queue

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

func enqueueOnce(t testing.TB, c *Client, spec transfer.Spec) (id string, there bool) {
	t.Helper()
	job, there, err := c.EnqueueOnce(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return job.ID, there
}

// TestEnqueueOnce enqueues the same again: it is the same job until that has ended, or is pruned.
func TestEnqueueOnce(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		spec := newSpec()
		first, there := enqueueOnce(t, c, spec)
		if there {
			t.Error("a new job was there already")
		}
		if again, there := enqueueOnce(t, c, spec); again != first || !there {
			t.Errorf("the same job again is %s, not %s", again, first)
		}
		other := spec
		other.Name = "another"
		if id, there := enqueueOnce(t, c, other); id == first || there {
			t.Error("another job is the same")
		}
		forced := enqueue(t, c)
		if forced == first {
			t.Error("a second job of its own is the first")
		}
		if again, there := enqueueOnce(t, c, spec); again != forced || !there {
			t.Errorf("the same job again is %s, not the latest, %s", again, forced)
		}
		if n, err := c.CancelAll(t.Context(), []transfer.State{transfer.Queued}); n != 3 || err != nil {
			t.Fatal(n, err)
		}
		second, there := enqueueOnce(t, c, spec)
		if second == first || there {
			t.Error("a job that has ended is taken for one that will run")
		}
		if _, err := c.Cancel(t.Context(), second); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Prune(t.Context(), PruneOptions{}); n != 4 || err != nil {
			t.Fatal(n, err)
		}
		if n, err := c.rdb.HLen(t.Context(), keySpecs).Result(); n != 0 || err != nil {
			t.Errorf("%d specs are remembered, %v", n, err)
		}
		if id, there := enqueueOnce(t, c, spec); id == second || there {
			t.Error("a job that was pruned is there")
		}
	})
}

// TestEnqueueWhatIsToStop enqueues again what runs, and has been asked to stop.
func TestEnqueueWhatIsToStop(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		first, _ := enqueueOnce(t, c, newSpec())
		if a, err := c.acquire(t.Context(), first, "w", quick, nil); a == nil || err != nil {
			t.Fatal(a, err)
		}
		if again, there := enqueueOnce(t, c, newSpec()); again != first || !there {
			t.Errorf("the same job again is %s, not %s", again, first)
		}
		if _, err := c.Cancel(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		if again, there := enqueueOnce(t, c, newSpec()); again == first || there {
			t.Error("a job that is about to stop is taken for one that will run")
		}
	})
}

// TestEnqueueOnceAtOnce has many enqueue the same at once.
func TestEnqueueOnceAtOnce(t *testing.T) {
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
				t.Fatalf("they are %q", ids)
			}
		}
		if jobs, err := c.Jobs(t.Context(), Filter{}); err != nil || len(jobs) != 1 {
			t.Errorf("there are %d jobs, %v", len(jobs), err)
		}
	})
}

// TestClaimedAndCutOff finds a spec claimed by a client that died before it recorded its job.
func TestClaimedAndCutOff(t *testing.T) {
	c := dial(t, startRedis(t).options)
	spec := newSpec()
	key, err := spec.Fingerprint()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time as if the first answer had been lost
		if other, err := c.reserve(t.Context(), key, "", "dead"); other != "" || err != nil {
			t.Fatal(other, err)
		}
	}
	if id, there := enqueueOnce(t, c, spec); id == "dead" || there {
		t.Errorf("the job is %s", id)
	}
}

// TestDeadline ends jobs that are not done in time: one that runs, and one that nobody has taken up.
func TestDeadline(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		spec := newSpec()
		spec.Deadline = transfer.Seconds(time.Second)
		job, err := c.Enqueue(t.Context(), spec)
		if err != nil || job.Deadline == nil || job.Deadline.Sub(job.CreatedAt) < 900*time.Millisecond {
			t.Fatalf("%+v, %v", job, err)
		}
		spec.Queue = "served-by-nobody"
		waits, err := c.Enqueue(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		var tried atomic.Bool // on a slow machine the first deadline passes before anybody takes the job up
		again := make(chan struct{}, 1)
		serve(t, c, "one", func(ctx context.Context, _ <-chan struct{}, a *Attempt) error {
			if tried.Load() {
				again <- struct{}{}
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		})
		for _, id := range []string{job.ID, waits.ID} {
			if ended := await(t, c, id, transfer.Failed); ended.Error.Code != transfer.CodeDeadline {
				t.Errorf("it failed with %+v", ended.Error)
			}
		}
		tried.Store(true)
		// Tried again, it has as much time once more.
		retried, err := c.Retry(t.Context(), job.ID)
		if err != nil || !retried.Deadline.After(time.Now()) {
			t.Errorf("%+v, %v", retried, err)
		}
		<-again
		await(t, c, job.ID, transfer.Succeeded)
	})
}

// attempt takes up a new job.
func attempt(t *testing.T, c *Client) *Attempt {
	t.Helper()
	a, err := c.acquire(t.Context(), enqueue(t, c), "w", quick, nil)
	if err != nil || a == nil {
		t.Fatal(a, err)
	}
	return a
}

// TestClaims has jobs on one drive: many read it, one writes it, and a worker that dies has nothing any more.
func TestClaims(t *testing.T) {
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
				t.Errorf("step %d: %v", i, err)
			}
		}
		if err := one.writeOutcome(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		wantCode(t, claim(three, write), transfer.CodeConflict)
		// Two says nothing any more, and its claim lapses.
		for transfer.CodeOf(claim(three, write)) == transfer.CodeConflict {
		}
		wantCode(t, two.renewClaims(t.Context()), transfer.CodeConflict)
		wantCode(t, claim(two, write), transfer.CodeConflict)
		if err := three.writeOutcome(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if err := claim(two, write); err != nil {
			t.Error(err)
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
		now, err := c.acquire(t.Context(), lost.Job.ID, "another", lost.timing, nil)
		if err != nil || now == nil {
			t.Fatalf("the job was not taken over: %v", err)
		}
		if _, err := now.Claim(t.Context(), write); err != nil {
			t.Fatal(err)
		}
		if err := lost.writeOutcome(t.Context(), transfer.Errorf(transfer.CodeServer, "", "injected")); err != nil {
			t.Fatal(err)
		}
		_, err = other.Claim(t.Context(), write)
		wantCode(t, err, transfer.CodeConflict)
	})
}

// TestMarks tells each job who has written a drive before it, and ends one whose drive another has written meanwhile: its claim
// lapsed while Redis was away.
func TestMarks(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		claim := func(a *Attempt, mark, want string) {
			t.Helper()
			last, err := a.Claim(t.Context(), transfer.Claim{Endpoint: "zrh", Drive: "d", Mark: mark})
			if err != nil || last != want {
				t.Errorf("the last mark is %q, not %q; %v", last, want, err)
			}
		}
		reader, one, two := attempt(t, c), attempt(t, c), attempt(t, c)
		claim(reader, "", "")
		reader.freeClaims(t.Context(), 0)
		claim(one, "one", "")
		if err := one.renewClaims(t.Context()); err != nil {
			t.Error(err)
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

// TestNoPasswords refuses a job whose address holds one.
func TestNoPasswords(t *testing.T) {
	c := dial(t, startRedis(t).options)
	spec := newSpec()
	spec.Source.Path = "https://ops:s3cret@images.example.com/disk.img"
	_, err := c.Enqueue(t.Context(), spec)
	if wantCode(t, err, transfer.CodeInvalid); strings.Contains(err.Error(), "s3cret") {
		t.Errorf("%v tells it", err)
	}
	if _, _, err = c.EnqueueOnce(t.Context(), spec); transfer.CodeOf(err) != transfer.CodeInvalid {
		t.Error(err)
	}
	if keys, err := c.rdb.Keys(t.Context(), "td:*").Result(); err != nil || len(keys) > 0 {
		t.Errorf("the queue holds %q, %v", keys, err)
	}
}
