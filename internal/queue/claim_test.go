package queue

import (
	"errors"
	"strings"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// driveOf is a claim of a drive on an endpoint that a config calls by the given names.
func driveOf(mark string, names ...string) transfer.Claim {
	return transfer.Claim{Endpoint: "account", Names: names, Drive: "d", Mark: mark}
}

// old is a claim of an earlier version, which knew an endpoint by its name alone.
func old(name, mark string) transfer.Claim {
	return transfer.Claim{Endpoint: name, Drive: "d", Mark: mark}
}

// TestClaimsByAccountExcludeEachOther: jobs that call one endpoint by two names exclude each other,
// on one host or on two.
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
			t.Errorf("after that the drive was written by %q, %v", last, err)
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
	// The claims under the other keys are given up.
	_, err := now.Claim(t.Context(), driveOf("new", "zrh", "zurich"))
	wantCode(t, err, transfer.CodeConflict)
	n := c.rdb.Exists(t.Context(), driveKeys("account:d")[0], driveKeys("zrh:d")[0]).Val()
	if n != 0 || len(now.claims) != 0 {
		t.Errorf("a job whose claim failed holds %d keys and the claims %v, want none", n, now.claims)
	}
	// The failed claim has set marks, which would make the drive doubtful.
	do(t, c, "DEL", driveKeys("account:d")[2])
	do(t, c, "DEL", driveKeys("zrh:d")[2])
	// A worker of this version takes the job up: it finds the mark that the job left.
	if last, err := before.Claim(t.Context(), driveOf("again", "zrh", "zurich")); err != nil || last != "old" {
		t.Errorf("the mark that it left is %q, %v", last, err)
	}
	before.freeClaims(t.Context(), 0)
	if last, err := now.Claim(t.Context(), driveOf("new", "zrh", "zurich")); err != nil || last != "again" {
		t.Errorf("the mark is %q, %v", last, err)
	}
	for _, name := range []string{"zrh", "zurich"} {
		_, err = before.Claim(t.Context(), old(name, "old"))
		wantCode(t, err, transfer.CodeConflict)
	}
	if err := now.renewClaims(t.Context()); err != nil {
		t.Error(err)
	}
	now.freeClaims(t.Context(), 0)
	// A job of the earlier version writes again: the drive no longer has the mark of this version.
	if _, err := before.Claim(t.Context(), old("zrh", "older")); err != nil {
		t.Fatal(err)
	}
	before.claims = nil
	do(t, c, "DEL", driveKeys("zrh:d")[0])
	if last, err := now.Claim(t.Context(), driveOf("", "zrh", "zurich")); err != nil || last == "new" || last == "" {
		t.Errorf("the mark is %q, %v, and another job has written since", last, err)
	}
}

// TestUnreadableClaimEndsTheJob: a claim that cannot be read ends the job; the hint has the key to
// remove, and the other claims of the job are renewed.
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
		t.Errorf("%v, hint %q", err, e.Hint)
	}
	if ttl := c.rdb.PTTL(t.Context(), sound).Val(); ttl > quick.claim {
		t.Errorf("the other claim is not renewed, it has %s", ttl)
	}
	_, err = attempt(t, c).Claim(t.Context(), transfer.Claim{Endpoint: "zrh", Drive: "one"})
	wantCode(t, err, transfer.CodeFailed)
}

// TestClaimsOutsideTheQueueExcludeJobs: jobs outside of the queue and jobs in it exclude each
// other.
func TestClaimsOutsideTheQueueExcludeJobs(t *testing.T) {
	c := dial(t, startRedis(t).options)
	queued, local := attempt(t, c), c.Claims("local-one")
	if _, err := local.Claim(t.Context(), driveOf("m", "zrh")); err != nil {
		t.Fatal(err)
	}
	_, err := queued.Claim(t.Context(), driveOf("n", "zurich"))
	if wantCode(t, err, transfer.CodeConflict); !strings.Contains(err.Error(), "local-one") {
		t.Error(err)
	}
	if err := local.Renew(t.Context()); err != nil {
		t.Error(err)
	}
	local.Free(t.Context())
	if last, err := queued.Claim(t.Context(), driveOf("n", "zurich")); err != nil || last != "m" {
		t.Errorf("%q, %v", last, err)
	}
	if _, err := local.Claim(t.Context(), driveOf("", "zrh")); transfer.CodeOf(err) != transfer.CodeConflict {
		t.Error(err)
	}
}
