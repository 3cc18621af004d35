package queue

import (
	"maps"
	"testing"
	"time"

	"github.com/transferd/transferd/internal/lease"
	"github.com/transferd/transferd/internal/transfer"
)

// long is a timing in which nothing lapses while a test runs, with waits that are told apart.
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

// lose has a job's lease lapse the given time ago.
func lose(t *testing.T, c *Client, id string, ago time.Duration) {
	t.Helper()
	if err := c.rdb.Del(t.Context(), leaseKey(id)).Err(); err != nil {
		t.Fatal(err)
	}
	if err := c.rdb.HSet(t.Context(), recordKey(id), "lapse", time.Now().UnixMilli()-ago.Milliseconds()).Err(); err != nil {
		t.Fatal(err)
	}
}

// TestRestoredRedisFencesByToken gives one epoch out twice, as a Redis does that was restored from
// an older copy: whoever took the job after that has it, and the other may do nothing more.
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
		for _, outcome := range []error{nil, transfer.Errorf(transfer.CodeServer, "", "bad"), transfer.Errorf(transfer.CodeDrained, "", "stop")} {
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

// TestTakeoverWaitsUnlessItIsClean takes a job over in each way that there is. late is for how long
// bytes of the earlier owner are expected, from now on; negative: none are.
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
		"lapsed":                         {func(t *testing.T, c *Client, a *Attempt) { lose(t, c, a.Job.ID, 7*time.Minute) }, 13 * time.Minute},
		"lapsed long ago":                {func(t *testing.T, c *Client, a *Attempt) { lose(t, c, a.Job.ID, time.Hour) }, 0},
		"lease deleted before it lapsed": {func(t *testing.T, c *Client, a *Attempt) { lose(t, c, a.Job.ID, -15*time.Minute) }, 35 * time.Minute},
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

// TestSuccessForgetsLateBytes: what follows is another life of the job.
func TestSuccessForgetsLateBytes(t *testing.T) {
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

// TestRenewalMovesTheLapse on in the record, by saves and by renewals.
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
			if want := time.Now().UnixMilli() + lasting.lease.Milliseconds(); err != nil || at > want+60_000 || at < want-60_000 {
				t.Errorf("after %s the lease lapses at %d, want about %d; %v", name, at, want, err)
			}
		}
	})
}

// TestClaimIsTheLaterOwners: an owner that was lost neither renews nor frees what a later one of
// its job has claimed, be it to read or to write.
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

// TestDriveStaysClosedWhileBytesMayArrive: a job that failed after an unclean takeover leaves its
// drive to others when the wait is over, and not before.
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

// TestLostOwnerFreesWhatIsItsAlone: where the next owner has another URL for the endpoint, nobody
// else would free the drive under the URL of the lost one for minutes. Bytes of that one may still
// arrive, so the drive stays closed for as long.
func TestLostOwnerFreesWhatIsItsAlone(t *testing.T) {
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

// TestClaimsOfAnOlderVersion are the job alone. They are that job's, and others respect them.
func TestClaimsOfAnOlderVersion(t *testing.T) {
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

// TestRecordOfAnOlderVersion runs a job that an older version has queued, and one that it ran when
// it was killed.
func TestRecordOfAnOlderVersion(t *testing.T) {
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

// TestShortLeaseScalesAllThatFollowsIt keeps the order of the intervals, by which a takeover is
// safe.
func TestShortLeaseScalesAllThatFollowsIt(t *testing.T) {
	s := NewServer(nil, ServerConfig{Jobs: 1, Lease: 3 * time.Second})
	if s.timing.lease != 3*time.Second || s.timing.late != 3*time.Second || s.timing.renew != time.Second/5 || s.timing.drain != time.Minute {
		t.Errorf("the timing is %+v", s.timing)
	}
	if s := NewServer(nil, ServerConfig{Jobs: 1}); s.timing != defaultTiming {
		t.Errorf("without a lease the timing is %+v", s.timing)
	}
}
