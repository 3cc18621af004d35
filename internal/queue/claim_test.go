package queue

import (
	"errors"
	"strings"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// driveOf is a claim of a drive on an endpoint that a config has under the given names.
func driveOf(mark string, names ...string) transfer.Claim {
	return transfer.Claim{Endpoint: "account", Names: names, Drive: "d", Mark: mark}
}

// old is a claim of an earlier version, which identified an endpoint by its name alone.
func old(name, mark string) transfer.Claim {
	return transfer.Claim{Endpoint: name, Drive: "d", Mark: mark}
}

// TestClaimsByAccountExcludeEachOther: jobs that use one endpoint under two names exclude each
// other, on one host or on two.
func TestClaimsByAccountExcludeEachOther(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c := dial(t, o)
		one, two := attempt(t, c), attempt(t, c)
		if _, err := one.Claim(t.Context(), driveOf("m", "zrh", "zurich")); err != nil {
			t.Fatal(err)
		}
		_, err := two.Claim(t.Context(), driveOf("n", "elsewhere"))
		wantCode(t, err, transfer.CodeConflict)
		_, err = two.Claim(t.Context(), driveOf("", "zurich", "zrh"))
		wantCode(t, err, transfer.CodeConflict)
		one.freeClaims(t.Context(), 0)
		if last, err := two.Claim(t.Context(), driveOf("n", "elsewhere")); err != nil || last != "m" {
			t.Errorf("after job one freed the drive: got the mark %q (%v), want m", last, err)
		}
	})
}

// TestClaimsAcrossAnUpgradeExcludeEachOther: jobs of an earlier version, which claim by name, and
// jobs of this one exclude each other.
func TestClaimsAcrossAnUpgradeExcludeEachOther(t *testing.T) {
	c := dial(t, startRedis(t).options)
	before, now := attempt(t, c), attempt(t, c)
	if _, err := before.Claim(t.Context(), old("zurich", "old")); err != nil {
		t.Fatal(err)
	}
	// The claims under the other keys are freed again.
	_, err := now.Claim(t.Context(), driveOf("new", "zrh", "zurich"))
	wantCode(t, err, transfer.CodeConflict)
	n := c.rdb.Exists(t.Context(), driveKeys("account:d")[0], driveKeys("zrh:d")[0]).Val()
	if n != 0 || len(now.claims) != 0 {
		t.Errorf("after a failed claim: got %d keys and the claims %v, want none", n, now.claims)
	}
	// The failed claim has set marks.
	do(t, c, "DEL", driveKeys("account:d")[2])
	do(t, c, "DEL", driveKeys("zrh:d")[2])
	// A worker of this version runs the job of the earlier version, and gets its mark.
	if last, err := before.Claim(t.Context(), driveOf("again", "zrh", "zurich")); err != nil || last != "old" {
		t.Errorf("claim of the same job: got the mark %q (%v), want old", last, err)
	}
	before.freeClaims(t.Context(), 0)
	if last, err := now.Claim(t.Context(), driveOf("new", "zrh", "zurich")); err != nil || last != "again" {
		t.Errorf("claim of another job: got the mark %q (%v), want again", last, err)
	}
	for _, name := range []string{"zrh", "zurich"} {
		_, err = before.Claim(t.Context(), old(name, "old"))
		wantCode(t, err, transfer.CodeConflict)
	}
	wantCode(t, now.renewClaims(t.Context()), "")
	now.freeClaims(t.Context(), 0)
	// A job of the earlier version writes again: the drive no longer has the mark of this version.
	if _, err := before.Claim(t.Context(), old("zrh", "older")); err != nil {
		t.Fatal(err)
	}
	before.claims = nil
	do(t, c, "DEL", driveKeys("zrh:d")[0])
	if last, err := now.Claim(t.Context(), driveOf("", "zrh", "zurich")); err != nil || last == "new" || last == "" {
		t.Errorf("after another job has written: got the mark %q (%v), want neither new nor none", last, err)
	}
}

// TestUnreadableClaimEndsTheJob: a claim that cannot be read ends the job. The hint has the key to
// remove, and the other claims of the job are still renewed.
func TestUnreadableClaimEndsTheJob(t *testing.T) {
	c := dial(t, startRedis(t).options)
	a := attempt(t, c)
	for _, drive := range []string{"one", "two"} {
		if _, err := a.Claim(t.Context(), transfer.Claim{Endpoint: "zrh", Drive: drive, Mark: "m"}); err != nil {
			t.Fatal(err)
		}
	}
	damaged, sound := driveKeys("zrh:one")[0], driveKeys("zrh:two")[0]
	do(t, c, "DEL", damaged)
	do(t, c, "RPUSH", damaged, "x")
	do(t, c, "PEXPIRE", sound, "100000")
	err := a.renewClaims(t.Context())
	var e *transfer.Error
	if !errors.As(err, &e) || e.Code != transfer.CodeFailed || !strings.Contains(e.Hint, damaged) {
		t.Errorf("got %v, want code %s and the key %s in the hint", err, transfer.CodeFailed, damaged)
	}
	if ttl := c.rdb.PTTL(t.Context(), sound).Val(); ttl > quick.claim {
		t.Errorf("the other claim: got a time to live of %s, want a renewed one of %s", ttl, quick.claim)
	}
	_, err = attempt(t, c).Claim(t.Context(), transfer.Claim{Endpoint: "zrh", Drive: "one"})
	wantCode(t, err, transfer.CodeFailed)
}

// TestClaimsOutsideTheQueueExcludeJobs: jobs with --local and jobs of the queue exclude each other.
func TestClaimsOutsideTheQueueExcludeJobs(t *testing.T) {
	c := dial(t, startRedis(t).options)
	queued, local := attempt(t, c), c.Claims("local-one")
	if _, err := local.Claim(t.Context(), driveOf("m", "zrh")); err != nil {
		t.Fatal(err)
	}
	_, err := queued.Claim(t.Context(), driveOf("n", "zurich"))
	if wantCode(t, err, transfer.CodeConflict); !strings.Contains(err.Error(), "local-one") {
		t.Errorf("got %v, want an error that names job local-one", err)
	}
	wantCode(t, local.Renew(t.Context()), "")
	local.Free(t.Context())
	if last, err := queued.Claim(t.Context(), driveOf("n", "zurich")); err != nil || last != "m" {
		t.Errorf("after the local job freed the drive: got the mark %q (%v), want m", last, err)
	}
	_, err = local.Claim(t.Context(), driveOf("", "zrh"))
	wantCode(t, err, transfer.CodeConflict)
}

// TestClaimSurvivesARestoredRedis: a Redis that was restored from a copy from before the claim has
// neither the claim nor its mark. The next renewal makes both again, unless another job has claimed
// the drive meanwhile.
func TestClaimSurvivesARestoredRedis(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		for _, before := range []string{"", "earlier"} {
			c, ctx := dial(t, o), t.Context()
			a, other := acquireAs(t, c, enqueue(t, c), "a", nil), acquireAs(t, c, enqueue(t, c), "other", nil)
			drive := transfer.Claim{Endpoint: "zrh", Drive: "d" + before, Mark: "mine"}
			keys := driveKeys(drive.Keys()[0])
			restore := func() {
				c.rdb.Del(ctx, keys...)
				if before != "" {
					c.rdb.Set(ctx, keys[2], before, 0)
				}
			}
			restore()
			if _, err := a.Claim(ctx, drive); err != nil {
				t.Fatal(err)
			}
			restore()
			wantCode(t, a.renewClaims(ctx), "")
			if mark := c.rdb.Get(ctx, keys[2]).Val(); mark != "mine" {
				t.Errorf("got the mark %q after the renewal, want the writer's", mark)
			}
			restore()
			theirs := transfer.Claim{Endpoint: "zrh", Drive: drive.Drive, Mark: "theirs"}
			if _, err := other.Claim(ctx, theirs); err != nil {
				t.Fatal(err)
			}
			other.freeClaims(ctx, 0)
			wantCode(t, a.renewClaims(ctx), transfer.CodeConflict)
		}
	})
}
