package queue

import (
	"maps"
	"testing"
	"time"

	"github.com/transferd/transferd/internal/lease"
	"github.com/transferd/transferd/internal/transfer"
)

// lasting is a timing in which nothing lapses while a test runs, and whose waits differ.
var lasting = func() timing {
	t := quick
	t.lease, t.claim, t.late = 15*time.Minute, time.Hour, 20*time.Minute
	return t
}()

func takeJob(t *testing.T, c *Client, id, worker string, life *lease.Life) *Attempt {
	t.Helper()
	a, err := c.acquire(t.Context(), id, worker, lasting, life)
	if err != nil || a == nil {
		t.Fatalf("the job was not taken: %v", err)
	}
	return a
}

// lose makes a job's lease have lapsed the given time ago.
func lose(t *testing.T, c *Client, id string, ago time.Duration) {
	t.Helper()
	if err := c.rdb.Del(t.Context(), leaseKey(id)).Err(); err != nil {
		t.Fatal(err)
	}
	lapse := time.Now().Add(-ago).UnixMilli()
	if err := c.rdb.HSet(t.Context(), recordKey(id), "lapse", lapse).Err(); err != nil {
		t.Fatal(err)
	}
}

// TestRestoredRedisFencesByToken gives one epoch out twice, as a Redis does that was restored from
// an older copy: the attempt that took the job later owns it, and the other is fenced.
func TestRestoredRedisFencesByToken(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c, ctx := dial(t, o), t.Context()
		id := enqueue(t, c)
		before := c.rdb.HGetAll(ctx, recordKey(id)).Val()
		lost := takeJob(t, c, id, "lost", nil)
		write := transfer.Claim{Endpoint: "zrh", Drive: "d", Mark: "m"}
		if err := c.rdb.Del(ctx, recordKey(id), leaseKey(id)).Err(); err != nil {
			t.Fatal(err)
		}
		if err := c.rdb.HSet(ctx, recordKey(id), before).Err(); err != nil {
			t.Fatal(err)
		}
		now := takeJob(t, c, id, "now", nil)
		if lost.owner.epoch != now.owner.epoch {
			t.Fatalf("the epochs are %d and %d, want one", lost.owner.epoch, now.owner.epoch)
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
			if err := lost.writeOutcome(ctx, outcome); err != nil {
				t.Errorf("outcome %v: %v", outcome, err)
			}
		}
		if job, err := c.Job(ctx, id); err != nil || job.State != transfer.Running || job.Worker != "now" {
			t.Errorf("the job is %s, of worker %s; %v", job.State, job.Worker, err)
		}
		if err := now.Save(ctx, &transfer.Checkpoint{Entries: entries(0, 1)}); err != nil {
			t.Error(err)
		}
	})
}

// TestTakeoverWaitsUnlessItIsClean takes a job over in each possible way. late is for how long
// bytes of the earlier owner are expected; none: the takeover is clean.
func TestTakeoverWaitsUnlessItIsClean(t *testing.T) {
	const none = -1
	dir := t.TempDir()
	mine, err := lease.OpenLife(dir, "mine")
	if err != nil {
		t.Fatal(err)
	}
	defer mine.Close()
	fail := transfer.Errorf(transfer.CodeServer, "", "bad")
	for name, test := range map[string]struct {
		lost func(t *testing.T, c *Client, a *Attempt)
		late time.Duration
	}{
		"handed over": {func(t *testing.T, _ *Client, a *Attempt) {
			wantCode(t, a.writeOutcome(t.Context(), transfer.Errorf(transfer.CodeDrained, "", "stop")), "")
		}, none},
		"failed, retried": {func(t *testing.T, c *Client, a *Attempt) {
			wantCode(t, a.writeOutcome(t.Context(), fail), "")
			_, err := c.Retry(t.Context(), a.Job.ID)
			wantCode(t, err, "")
		}, none},
		"lapsed": {func(t *testing.T, c *Client, a *Attempt) {
			lose(t, c, a.Job.ID, 7*time.Minute)
		}, 13 * time.Minute},
		"lapsed long ago": {func(t *testing.T, c *Client, a *Attempt) {
			lose(t, c, a.Job.ID, time.Hour)
		}, 0},
		"lease deleted before it lapsed": {func(t *testing.T, c *Client, a *Attempt) {
			lose(t, c, a.Job.ID, -15*time.Minute)
		}, 35 * time.Minute},
		"lapsed, of an older version": {func(t *testing.T, c *Client, a *Attempt) {
			lose(t, c, a.Job.ID, time.Hour)
			wantCode(t, c.rdb.HDel(t.Context(), recordKey(a.Job.ID), "lapse", "owner", "home", "redis").Err(), "")
		}, 35 * time.Minute},
		"lapsed, of a Redis that was started again": {func(t *testing.T, c *Client, a *Attempt) {
			lose(t, c, a.Job.ID, time.Hour)
			wantCode(t, c.rdb.HSet(t.Context(), recordKey(a.Job.ID), "redis", "another").Err(), "")
		}, 35 * time.Minute},
		"lapsed, canceled, retried": {func(t *testing.T, c *Client, a *Attempt) {
			lose(t, c, a.Job.ID, 7*time.Minute)
			_, err := c.Cancel(t.Context(), a.Job.ID)
			wantCode(t, err, "")
			_, err = c.Retry(t.Context(), a.Job.ID)
			wantCode(t, err, "")
		}, 13 * time.Minute},
		"lapsed, taken over, handed over": {func(t *testing.T, c *Client, a *Attempt) {
			lose(t, c, a.Job.ID, 7*time.Minute)
			next := takeJob(t, c, a.Job.ID, "next", nil)
			wantCode(t, next.writeOutcome(t.Context(), transfer.Errorf(transfer.CodeDrained, "", "stop")), "")
		}, 13 * time.Minute},
		"lapsed, process ended": {func(t *testing.T, c *Client, a *Attempt) {
			lose(t, c, a.Job.ID, 7*time.Minute)
			dead, err := lease.OpenLife(dir, a.worker)
			wantCode(t, err, "")
			wantCode(t, dead.Close(), "")
		}, none},
		"lapsed, process stopped": {func(t *testing.T, c *Client, a *Attempt) {
			lose(t, c, a.Job.ID, 7*time.Minute)
			stopped, err := lease.OpenLife(dir, a.worker)
			wantCode(t, err, "")
			t.Cleanup(func() { _ = stopped.Close() })
		}, 13 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, startRedis(t).options)
			a := takeJob(t, c, enqueue(t, c), "worker of "+name, mine)
			test.lost(t, c, a)
			next := takeJob(t, c, a.Job.ID, "next", mine)
			left, unclean := next.lease.Late()
			if want := max(0, test.late); unclean != (test.late != none) || left > want || left < want-time.Minute {
				t.Errorf("bytes of a lost owner are expected: %v, for %s; want %s", unclean, left, test.late)
			}
		})
	}
}

// TestSuccessClearsLateBytes: a job that has succeeded has no bytes of lost owners to wait for.
func TestSuccessClearsLateBytes(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		a := takeJob(t, c, enqueue(t, c), "lost", nil)
		lose(t, c, a.Job.ID, time.Minute)
		next := takeJob(t, c, a.Job.ID, "next", nil)
		if _, unclean := next.lease.Late(); !unclean {
			t.Error("the takeover is clean")
		}
		wantCode(t, next.writeOutcome(t.Context(), nil), "")
		h := c.rdb.HGetAll(t.Context(), recordKey(a.Job.ID)).Val()
		if h["late"] != "" || h["lapse"] != "" || h["state"] != "succeeded" {
			t.Errorf("the record is %v", h)
		}
	})
}

// TestRenewalMovesTheLapse: saves and renewals move the lapse in the record.
func TestRenewalMovesTheLapse(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		a := takeJob(t, c, enqueue(t, c), "w", nil)
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
				t.Errorf("after %s the lease lapses at %d, want about %d; %v", name, at, want, err)
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
			lost, other := takeJob(t, c, enqueue(t, c), "lost", nil), takeJob(t, c, enqueue(t, c), "other", nil)
			claim := func(a *Attempt) error {
				_, err := a.Claim(ctx, drive)
				return err
			}
			wantCode(t, claim(lost), "")
			lose(t, c, lost.Job.ID, 0)
			next := takeJob(t, c, lost.Job.ID, "next", nil)
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
	lost, other := takeJob(t, c, enqueue(t, c), "lost", nil), takeJob(t, c, enqueue(t, c), "other", nil)
	lose(t, c, lost.Job.ID, 7*time.Minute)
	next := takeJob(t, c, lost.Job.ID, "next", nil)
	drive := transfer.Claim{Endpoint: "zrh", Drive: "d", Mark: "m"}
	if _, err := next.Claim(t.Context(), drive); err != nil {
		t.Fatal(err)
	}
	wantCode(t, next.writeOutcome(t.Context(), transfer.Errorf(transfer.CodeServer, "", "bad")), "")
	_, err := other.Claim(t.Context(), drive)
	wantCode(t, err, transfer.CodeConflict)
	writer := driveKeys("zrh:d")[0]
	if left := c.rdb.PTTL(t.Context(), writer).Val(); left > 13*time.Minute || left < 12*time.Minute {
		t.Errorf("the drive is closed for %s, want 13 minutes", left)
	}
}

// TestLostOwnerFreesItsOwnClaims: if the next owner has another URL for the endpoint, only the lost
// owner can free its claim before the claim lapses. Its bytes may still arrive, so the drive stays
// closed until they cannot.
func TestLostOwnerFreesItsOwnClaims(t *testing.T) {
	c := dial(t, startRedis(t).options)
	lost := takeJob(t, c, enqueue(t, c), "lost", nil)
	if _, err := lost.Claim(t.Context(), transfer.Claim{Endpoint: "one", Drive: "d", Mark: "m"}); err != nil {
		t.Fatal(err)
	}
	lose(t, c, lost.Job.ID, 0)
	next := takeJob(t, c, lost.Job.ID, "next", nil)
	if _, err := next.Claim(t.Context(), transfer.Claim{Endpoint: "two", Drive: "d", Mark: "m"}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, lost.writeOutcome(t.Context(), transfer.Errorf(transfer.CodeFenced, "", "lost")), "")
	writer := driveKeys("one:d")[0]
	if left := c.rdb.PTTL(t.Context(), writer).Val(); left <= 0 || left > lost.timing.late {
		t.Errorf("the drive is closed for %s, want up to %s", left, lost.timing.late)
	}
}

// TestClaimsOfAnOlderVersionExcludeOthers: a claim that names only the job belongs to that job and
// excludes others.
func TestClaimsOfAnOlderVersionExcludeOthers(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		a, other := takeJob(t, c, enqueue(t, c), "a", nil), takeJob(t, c, enqueue(t, c), "other", nil)
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
			a := takeJob(t, c, id, "new", nil)
			if _, unclean := a.lease.Late(); unclean != (state == transfer.Running) {
				t.Errorf("%s: bytes of a lost owner are expected: %v", state, unclean)
			}
			wantCode(t, a.Save(t.Context(), &transfer.Checkpoint{Entries: entries(0, 1)}), "")
			wantCode(t, a.writeOutcome(t.Context(), nil), "")
			if job, err := c.Job(t.Context(), id); err != nil || job.State != transfer.Succeeded {
				t.Errorf("the job is %s, %v", job.State, err)
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
		t.Errorf("the timing is %+v", got)
	}
	if s := NewServer(nil, ServerConfig{Jobs: 1}); s.timing != defaultTiming {
		t.Errorf("without a lease the timing is %+v", s.timing)
	}
}
