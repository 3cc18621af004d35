package queue

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/transferd/transferd/internal/lease"
	"github.com/transferd/transferd/internal/transfer"
)

// lasting is a timing with which nothing lapses during a test, and whose intervals all differ.
var lasting = func() timing {
	t := quick
	t.lease, t.claim, t.late = 15*time.Minute, time.Hour, 20*time.Minute
	return t
}()

func acquireAs(t *testing.T, c *Client, id, worker string, life *lease.Life) *Attempt {
	t.Helper()
	a, err := c.acquire(t.Context(), id, anyEpoch, worker, lasting, life)
	if err != nil || a == nil {
		t.Fatalf("the job was not taken: %v", err)
	}
	return a
}

// lapse makes a job's lease have lapsed the given time ago.
func lapse(t *testing.T, c *Client, id string, ago time.Duration) {
	t.Helper()
	if err := c.rdb.Del(t.Context(), leaseKey(id)).Err(); err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(-ago).UnixMilli()
	if err := c.rdb.HSet(t.Context(), recordKey(id), "lapse", at).Err(); err != nil {
		t.Fatal(err)
	}
}

// TestRestoredRedisFencesByToken: a Redis that was restored from an older copy grants one epoch
// twice. The later attempt owns the job, and the other is fenced.
func TestRestoredRedisFencesByToken(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c, ctx := dial(t, o), t.Context()
		id := enqueue(t, c)
		before := c.rdb.HGetAll(ctx, recordKey(id)).Val()
		lost := acquireAs(t, c, id, "lost", nil)
		write := transfer.Claim{Endpoint: "zrh", Drive: "d", Mark: "m"}
		if err := c.rdb.Del(ctx, recordKey(id), leaseKey(id)).Err(); err != nil {
			t.Fatal(err)
		}
		if err := c.rdb.HSet(ctx, recordKey(id), before).Err(); err != nil {
			t.Fatal(err)
		}
		now := acquireAs(t, c, id, "now", nil)
		if lost.owner.epoch != now.owner.epoch {
			t.Fatalf("got the epochs %d and %d, want equal ones", lost.owner.epoch, now.owner.epoch)
		}
		if _, err := now.Claim(ctx, write); err != nil {
			t.Fatal(err)
		}
		wantCode(t, lost.Save(ctx, &transfer.Checkpoint{Entries: entries(0, 1)}), transfer.CodeFenced)
		wantCode(t, lost.renew(ctx), transfer.CodeFenced)
		_, err := lost.Claim(ctx, write)
		wantCode(t, err, transfer.CodeConflict)
		for _, outcome := range []error{
			nil, transfer.Errorf(transfer.CodeServer, "", "bad"), transfer.Errorf(transfer.CodeDrained, "", "stop"),
		} {
			if _, err := lost.writeOutcome(ctx, outcome); err != nil {
				t.Errorf("outcome %v of a fenced attempt: got %v, want no error", outcome, err)
			}
		}
		if job, err := c.Job(ctx, id); err != nil || job.State != transfer.Running || job.Worker != "now" {
			t.Errorf("got state %s and worker %s (%v), want running and now", job.State, job.Worker, err)
		}
		if err := now.Save(ctx, &transfer.Checkpoint{Entries: entries(0, 1)}); err != nil {
			t.Errorf("save of the owner: got %v, want no error", err)
		}
	})
}

// TestTakeoverWaitsUnlessItIsClean: the new owner waits if the previous one was lost. late is how
// long its bytes may arrive; none: the takeover is clean.
func TestTakeoverWaitsUnlessItIsClean(t *testing.T) {
	const none = -1
	dir := t.TempDir()
	life, err := lease.OpenLife(dir, "this process")
	if err != nil {
		t.Fatal(err)
	}
	defer life.Close()
	fail := transfer.Errorf(transfer.CodeServer, "", "bad")
	for name, test := range map[string]struct {
		lost func(t *testing.T, c *Client, a *Attempt)
		late time.Duration
	}{
		"handed over": {func(t *testing.T, _ *Client, a *Attempt) {
			writeOutcome(t, a, transfer.Errorf(transfer.CodeDrained, "", "stop"))
		}, none},
		"failed, retried": {func(t *testing.T, c *Client, a *Attempt) {
			writeOutcome(t, a, fail)
			_, err := c.Retry(t.Context(), a.Job.ID)
			wantCode(t, err, "")
		}, none},
		"lapsed": {func(t *testing.T, c *Client, a *Attempt) {
			lapse(t, c, a.Job.ID, 7*time.Minute)
		}, 13 * time.Minute},
		"lapsed long ago": {func(t *testing.T, c *Client, a *Attempt) {
			lapse(t, c, a.Job.ID, time.Hour)
		}, 0},
		"lease deleted before it lapsed": {func(t *testing.T, c *Client, a *Attempt) {
			lapse(t, c, a.Job.ID, -15*time.Minute)
		}, 35 * time.Minute},
		"lapsed, of an older version": {func(t *testing.T, c *Client, a *Attempt) {
			lapse(t, c, a.Job.ID, time.Hour)
			wantCode(t, c.rdb.HDel(t.Context(), recordKey(a.Job.ID), "lapse", "owner", "home", "redis").Err(), "")
		}, 35 * time.Minute},
		"lapsed, of a Redis that was started again": {func(t *testing.T, c *Client, a *Attempt) {
			lapse(t, c, a.Job.ID, time.Hour)
			wantCode(t, c.rdb.HSet(t.Context(), recordKey(a.Job.ID), "redis", "another").Err(), "")
		}, 35 * time.Minute},
		"lapsed, canceled, retried": {func(t *testing.T, c *Client, a *Attempt) {
			lapse(t, c, a.Job.ID, 7*time.Minute)
			_, err := c.Cancel(t.Context(), a.Job.ID)
			wantCode(t, err, "")
			_, err = c.Retry(t.Context(), a.Job.ID)
			wantCode(t, err, "")
		}, 13 * time.Minute},
		"lapsed, taken over, handed over": {func(t *testing.T, c *Client, a *Attempt) {
			lapse(t, c, a.Job.ID, 7*time.Minute)
			next := acquireAs(t, c, a.Job.ID, "next", nil)
			writeOutcome(t, next, transfer.Errorf(transfer.CodeDrained, "", "stop"))
		}, 13 * time.Minute},
		"lapsed, process ended": {func(t *testing.T, c *Client, a *Attempt) {
			lapse(t, c, a.Job.ID, 7*time.Minute)
			dead, err := lease.OpenLife(dir, a.worker)
			wantCode(t, err, "")
			wantCode(t, dead.Close(), "")
		}, none},
		"lapsed, process stopped": {func(t *testing.T, c *Client, a *Attempt) {
			lapse(t, c, a.Job.ID, 7*time.Minute)
			stopped, err := lease.OpenLife(dir, a.worker)
			wantCode(t, err, "")
			t.Cleanup(func() { _ = stopped.Close() })
		}, 13 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, startRedis(t).options)
			a := acquireAs(t, c, enqueue(t, c), "worker of "+name, life)
			test.lost(t, c, a)
			next := acquireAs(t, c, a.Job.ID, "next", life)
			left, unclean := next.lease.Late()
			if want := max(0, test.late); unclean != (test.late != none) || left > want || left < want-time.Minute {
				t.Errorf("got unclean %v and a wait of %s, want %s", unclean, left, test.late)
			}
		})
	}
}

// TestSuccessClearsLateBytes: a job that has succeeded has no bytes of lost owners to wait for.
func TestSuccessClearsLateBytes(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		a := attempt(t, c)
		lapse(t, c, a.Job.ID, time.Minute)
		next := acquire(t, c, a.Job.ID, quick)
		if _, unclean := next.lease.Late(); !unclean {
			t.Error("got a clean takeover, want an unclean one")
		}
		if err := awaitLate(t.Context(), next); err != nil {
			t.Fatal(err)
		}
		writeOutcome(t, next, nil)
		h := c.rdb.HGetAll(t.Context(), recordKey(a.Job.ID)).Val()
		if h["late"] != "" || h["lapse"] != "" || h["state"] != "succeeded" {
			t.Errorf("got the record %v, want succeeded without late and lapse", h)
		}
	})
}

// TestRenewalMovesTheLapse: saves and renewals move the lapse in the record.
func TestRenewalMovesTheLapse(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		a := acquireAs(t, c, enqueue(t, c), "w", nil)
		for name, renew := range map[string]func() error{
			"renew": func() error { return a.renew(t.Context()) },
			"save":  func() error { return a.Save(t.Context(), &transfer.Checkpoint{}) },
		} {
			if err := c.rdb.HSet(t.Context(), recordKey(a.Job.ID), "lapse", 1).Err(); err != nil {
				t.Fatal(err)
			}
			wantCode(t, renew(), "")
			at, err := c.rdb.HGet(t.Context(), recordKey(a.Job.ID), "lapse").Int64()
			want := time.Now().UnixMilli() + lasting.lease.Milliseconds()
			if err != nil || at > want+60_000 || at < want-60_000 {
				t.Errorf("after %s: got a lapse at %d (%v), want about %d", name, at, err, want)
			}
		}
	})
}

// TestClaimIsTheLaterOwners: a lost owner neither renews nor frees the claims of a later owner of
// its job, for reading or writing.
func TestClaimIsTheLaterOwners(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		for _, mark := range []string{"", "m"} {
			c, ctx := dial(t, o), t.Context()
			drive := transfer.Claim{Endpoint: "zrh", Drive: "d" + mark, Mark: mark}
			lost, other := acquireAs(t, c, enqueue(t, c), "lost", nil), acquireAs(t, c, enqueue(t, c), "other", nil)
			claim := func(a *Attempt) error {
				_, err := a.Claim(ctx, drive)
				return err
			}
			wantCode(t, claim(lost), "")
			lapse(t, c, lost.Job.ID, 0)
			next := acquireAs(t, c, lost.Job.ID, "next", nil)
			wantCode(t, claim(next), "")
			wantCode(t, claim(lost), transfer.CodeFenced)
			wantCode(t, lost.renewClaims(ctx), transfer.CodeFenced)
			wantCode(t, lost.freeDrive(ctx, drive.Keys()[0], 0), "")
			_, err := other.Claim(ctx, transfer.Claim{Endpoint: "zrh", Drive: drive.Drive, Mark: "other"})
			wantCode(t, err, transfer.CodeConflict)
		}
	})
}

// TestDriveStaysClosedWhileBytesMayArrive: a job that fails after an unclean takeover frees its
// drive only after the wait.
func TestDriveStaysClosedWhileBytesMayArrive(t *testing.T) {
	c := dial(t, startRedis(t).options)
	lost, other := acquireAs(t, c, enqueue(t, c), "lost", nil), acquireAs(t, c, enqueue(t, c), "other", nil)
	lapse(t, c, lost.Job.ID, 7*time.Minute)
	next := acquireAs(t, c, lost.Job.ID, "next", nil)
	drive := transfer.Claim{Endpoint: "zrh", Drive: "d", Mark: "m"}
	if _, err := next.Claim(t.Context(), drive); err != nil {
		t.Fatal(err)
	}
	writeOutcome(t, next, transfer.Errorf(transfer.CodeServer, "", "bad"))
	_, err := other.Claim(t.Context(), drive)
	wantCode(t, err, transfer.CodeConflict)
	writer := driveKeys("zrh:d")[0]
	if left := c.rdb.PTTL(t.Context(), writer).Val(); left > 13*time.Minute || left < 12*time.Minute {
		t.Errorf("got a drive that is closed for %s, want 13 minutes", left)
	}
}

// TestLostOwnerFreesItsOwnClaims: if the next owner has another URL for the endpoint, only the lost
// owner can free its claim before the claim lapses. Its bytes may still arrive, so the drive stays
// closed until they cannot.
func TestLostOwnerFreesItsOwnClaims(t *testing.T) {
	c := dial(t, startRedis(t).options)
	lost := acquireAs(t, c, enqueue(t, c), "lost", nil)
	if _, err := lost.Claim(t.Context(), transfer.Claim{Endpoint: "one", Drive: "d", Mark: "m"}); err != nil {
		t.Fatal(err)
	}
	lapse(t, c, lost.Job.ID, 0)
	next := acquireAs(t, c, lost.Job.ID, "next", nil)
	if _, err := next.Claim(t.Context(), transfer.Claim{Endpoint: "two", Drive: "d", Mark: "m"}); err != nil {
		t.Fatal(err)
	}
	writeOutcome(t, lost, transfer.Errorf(transfer.CodeFenced, "", "lost"))
	writer := driveKeys("one:d")[0]
	if left := c.rdb.PTTL(t.Context(), writer).Val(); left <= 0 || left > lost.timing.late {
		t.Errorf("got a drive that is closed for %s, want up to %s", left, lost.timing.late)
	}
}

// TestFinishedDriveStaysClosedWhileAJobIsHandedOver: the next attempt only compares it. If another job
// wrote to the drive before, this one would fail although it has done its work.
func TestFinishedDriveStaysClosedWhileAJobIsHandedOver(t *testing.T) {
	c, drained := dial(t, startRedis(t).options), transfer.Errorf(transfer.CodeDrained, "", "stopping")
	for _, finished := range []bool{false, true} {
		a, other := acquireAs(t, c, enqueue(t, c), "a", nil), acquireAs(t, c, enqueue(t, c), "other", nil)
		drive := transfer.Claim{Endpoint: "zrh", Drive: fmt.Sprint("d", finished), Mark: "m"}
		if _, err := a.Claim(t.Context(), drive); err != nil {
			t.Fatal(err)
		}
		if err := a.Save(t.Context(), &transfer.Checkpoint{Plan: transfer.Plan{Finished: finished}}); err != nil {
			t.Fatal(err)
		}
		if ended, err := a.writeOutcome(t.Context(), drained); ended || err != nil {
			t.Fatalf("got %t, %v, want the job queued again", ended, err)
		}
		want := map[bool]transfer.Code{true: transfer.CodeConflict}[finished]
		_, err := other.Claim(t.Context(), drive)
		wantCode(t, err, want)
		if _, err := acquireAs(t, c, a.Job.ID, "next", nil).Claim(t.Context(), drive); finished {
			wantCode(t, err, "")
		}
	}
}

// TestClaimsOfAnOlderVersionExcludeOthers: a claim that names only the job belongs to that job and
// excludes others.
func TestClaimsOfAnOlderVersionExcludeOthers(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		a, other := acquireAs(t, c, enqueue(t, c), "a", nil), acquireAs(t, c, enqueue(t, c), "other", nil)
		keys := driveKeys("zrh:d")
		wantCode(t, c.rdb.Set(t.Context(), keys[0], a.Job.ID, time.Hour).Err(), "")
		drive := transfer.Claim{Endpoint: "zrh", Drive: "d", Mark: "m"}
		_, err := other.Claim(t.Context(), drive)
		wantCode(t, err, transfer.CodeConflict)
		_, err = a.Claim(t.Context(), drive)
		wantCode(t, err, "")
	})
}

// TestRecordOfAnOlderVersionRuns: this version runs a job that an older version queued, and one
// that it was running when it was killed.
func TestRecordOfAnOlderVersionRuns(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		for _, state := range []transfer.State{transfer.Queued, transfer.Running} {
			id := enqueue(t, c)
			h := c.rdb.HGetAll(t.Context(), recordKey(id)).Val()
			if state == transfer.Running {
				maps.Copy(h, map[string]string{"state": "running", "worker": "old", "epoch": "1", "attempts": "1"})
				wantCode(t, c.rdb.HSet(t.Context(), recordKey(id), h).Err(), "")
			}
			a := acquire(t, c, id, quick)
			if _, unclean := a.lease.Late(); unclean != (state == transfer.Running) {
				t.Errorf("%s: got unclean %v, want %v", state, unclean, state == transfer.Running)
			}
			wantCode(t, a.Save(t.Context(), &transfer.Checkpoint{Entries: entries(0, 1)}), "")
			if err := awaitLate(t.Context(), a); err != nil {
				t.Fatal(err)
			}
			writeOutcome(t, a, nil)
			if job, err := c.Job(t.Context(), id); err != nil || job.State != transfer.Succeeded {
				t.Errorf("got state %s (%v), want succeeded", job.State, err)
			}
		}
	})
}

// TestShortLeaseScalesTheIntervals: a takeover depends on the proportions of the intervals.
func TestShortLeaseScalesTheIntervals(t *testing.T) {
	s := NewServer(nil, ServerConfig{Jobs: 1, Lease: 3 * time.Second})
	got := s.timing
	scaled := got.lease == 3*time.Second && got.late == 3*time.Second && got.renew == time.Second/5
	if !scaled || got.drain != time.Minute {
		t.Errorf("got %+v, want lease and late of 3 s, renew of 200 ms and drain of a minute", got)
	}
	if s := NewServer(nil, ServerConfig{Jobs: 1}); s.timing != defaultTiming {
		t.Errorf("without a lease: got %+v, want %+v", s.timing, defaultTiming)
	}
}
