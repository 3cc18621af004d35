package worker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// newClone returns a job whose endpoint copies a drive; made is the copy.
func newClone(t *testing.T, image []byte, made *memImage) *job {
	j := newJob(t, newMemImage(image), made)
	j.spec.Kind, j.spec.Source = transfer.Clone, transfer.Ref{Endpoint: "e", Drive: "origin"}
	j.opener.drive = "uuid"
	return j
}

// TestUnverifiedCloneOpensNoEnd: without verification neither drive is opened.
func TestUnverifiedCloneOpensNoEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newClone(t, randomBytes(10), newMemImage(nil))
		j.spec.Verify, j.opener.ready = transfer.VerifyNone, 3
		p := j.mustRun()
		if j.opener.opened["source"]+j.opener.opened["sink"] > 0 || j.opener.opened["ready"] != 4 || p.Verified ||
			p.Drive != "uuid" {
			t.Errorf("got calls %v, verified %v, drive %q; want 4 ready calls, nothing opened, false, \"uuid\"",
				j.opener.opened, p.Verified, p.Drive)
		}
	})
}

// TestFailedCloneComparesNothing: the job ends with the endpoint's error.
func TestFailedCloneComparesNothing(t *testing.T) {
	for _, call := range []string{"provision", "ready"} {
		synctest.Test(t, func(t *testing.T) {
			j := newClone(t, randomBytes(10), newMemImage(nil))
			j.opener.open = func(what string, _ int) error {
				if what == call {
					return failure(transfer.CodeRefused)
				}
				return nil
			}
			j.mustFail(transfer.CodeRefused)
			if made := j.store.saved.Plan.Drive != ""; made != (call == "ready") || j.opener.opened["sink"] > 0 ||
				j.opener.opened[call] != 1 {
				t.Errorf("%s: got calls %v and plan %+v; want one such call, no sink, a drive only after provision",
					call, j.opener.opened, j.store.saved.Plan)
			}
		})
	}
}

// TestLongCloneIsPolledAndSaved: the polls become rare, but the saves continue and renew the lease.
func TestLongCloneIsPolledAndSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		image := randomBytes(3 * chunkSize)
		j := newClone(t, image, newMemImage(image))
		j.opener.ready = 600
		started := time.Now()
		if p := j.mustRun(); !p.Verified {
			t.Errorf("got progress %+v, want it verified", p)
		}
		if took := time.Since(started); took < 2*time.Hour || took > 600*copyPollMax || j.store.saves < 7000 {
			t.Errorf("got %s and %d saves, want about %s and 7000 saves", took, j.store.saves, 600*copyPollMax)
		}
	})
}

// TestDrainedCloneContinuesWithTheSameDrive: the job ends at once during the copy, and its next
// attempt waits for the same drive.
func TestDrainedCloneContinuesWithTheSameDrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		image := randomBytes(3 * chunkSize)
		j := newClone(t, image, newMemImage(image))
		j.opener.ready = 100
		drain := make(chan struct{})
		time.AfterFunc(time.Minute, func() { close(drain) })
		started := time.Now()
		if err := j.run(t.Context(), drain); transfer.CodeOf(err) != transfer.CodeDrained {
			t.Errorf("got %v, want code %s", err, transfer.CodeDrained)
		}
		if took := time.Since(started); took > time.Minute+copyPollMax || j.store.saved.Plan.Drive != "uuid" {
			t.Errorf("ended after %s with plan %+v, want a minute and drive \"uuid\"", took, j.store.saved.Plan)
		}
		j.mustRun()
		if j.opener.opened["provision"] != 1 || j.opener.opened["ready"] != 101 {
			t.Errorf("got calls %v, want 1 provision and 101 ready", j.opener.opened)
		}
	})
}

// TestCloneMayNotBeVisibleAtOnce: parts of the endpoint do not know the copy yet when it is polled
// or opened.
func TestCloneMayNotBeVisibleAtOnce(t *testing.T) {
	for _, call := range []string{"ready", "sink"} {
		synctest.Test(t, func(t *testing.T) {
			image, started := randomBytes(3*chunkSize), time.Now()
			j := newClone(t, image, newMemImage(image))
			j.opener.open = func(what string, _ int) error {
				if what == call && time.Since(started) < time.Minute {
					return failure(transfer.CodeNotFound)
				}
				return nil
			}
			if err := j.run(t.Context(), nil); err != nil || time.Since(started) < time.Minute {
				t.Errorf("%s: ended after %s with %v, want no error after a minute", call, time.Since(started), err)
			}
		})
	}
}

// TestTailMustBeZeros: the tail of a clone is sampled, or read as a whole with full verification; a
// verify job always reads all of it.
func TestTailMustBeZeros(t *testing.T) {
	const size, capacity = 5*chunkSize + 100, 9*chunkSize + 7
	for name, tc := range map[string]struct {
		kind  transfer.Kind
		mode  transfer.VerifyMode
		noise bool // the whole tail differs
		at    int  // otherwise this byte differs; 0: none
		off   int64
	}{
		"clone, zeros":            {kind: transfer.Clone, mode: transfer.VerifyWritten},
		"clone, noise":            {kind: transfer.Clone, mode: transfer.VerifyWritten, noise: true, off: -1},
		"clone, first byte, full": {kind: transfer.Clone, mode: transfer.VerifyFull, at: size, off: size},
		"clone, last byte, full": {kind: transfer.Clone, mode: transfer.VerifyFull, at: capacity - 1,
			off: 9 * chunkSize},
		"verify, zeros":      {kind: transfer.Verify, mode: transfer.VerifyWritten},
		"verify, first byte": {kind: transfer.Verify, mode: transfer.VerifyWritten, at: size, off: size},
		"verify, byte in a middle": {kind: transfer.Verify, mode: transfer.VerifyWritten, at: 7*chunkSize + 1,
			off: 7 * chunkSize},
		"verify, last byte": {kind: transfer.Verify, mode: transfer.VerifyWritten, at: capacity - 1,
			off: 9 * chunkSize},
	} {
		image := randomBytes(size)
		drive := append(append([]byte(nil), image...), make([]byte, capacity-size)...)
		if tc.noise {
			copy(drive[size:], randomBytes(capacity-size))
		}
		if tc.at > 0 {
			drive[tc.at] = 1
		}
		made := newMemImage(drive)
		j := newClone(t, image, made)
		j.spec.Kind, j.spec.Verify, made.capacity = tc.kind, tc.mode, capacity
		if tc.off == 0 {
			if p := j.mustRun(); !p.Verified {
				t.Errorf("%s: got verified false, want true", name)
			}
			continue
		}
		f := j.mustFail(transfer.CodeMismatch)
		if f.Offset == nil || *f.Offset < size || (tc.off > 0 && *f.Offset != tc.off) {
			t.Errorf("%s: got %+v, want the offset %d", name, f, tc.off)
		}
		if made.total(made.writes)+made.commits+made.discards > 0 {
			t.Errorf("%s: got writes, commits or discards, want none", name)
		}
	}
}

// TestTailIsReadInParallel: with as many calls in flight as in a copy.
func TestTailIsReadInParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		image := randomBytes(chunkSize)
		made := newMemImage(append(append([]byte(nil), image...), make([]byte, 400*chunkSize)...))
		made.onRead = func(ctx context.Context, _ transfer.Chunk, _ int) error {
			if err := sleep(ctx, time.Second); err != nil {
				return err
			}
			return nil
		}
		j := newClone(t, image, made)
		j.spec.Kind, made.capacity = transfer.Verify, made.Size()
		started := time.Now()
		j.mustRun()
		if took := time.Since(started); took > 400/defaultInFlight*2*time.Second {
			t.Errorf("took %s, want at most %s", took, 400/defaultInFlight*2*time.Second)
		}
	})
}
