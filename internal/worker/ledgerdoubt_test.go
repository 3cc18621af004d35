package worker

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/transferd/transferd/internal/flow"
	"github.com/transferd/transferd/internal/transfer"
)

// newInterrupted returns a job after a first attempt that failed after a hundred chunks, on a blank
// target.
func newInterrupted(t *testing.T, image []byte) (j *job, sink *memImage, s *claimStore) {
	t.Helper()
	sink = newMemImage(make([]byte, len(image)))
	sink.blank = true
	j = newJob(t, newMemImage(image), sink)
	j.spec.Concurrency, j.opener.drive = 1, "uuid"
	sink.onWrite = func(context.Context, transfer.Chunk, int) error {
		if sink.total(sink.writes) > 100 {
			return failure(transfer.CodeRefused)
		}
		return nil
	}
	s = &claimStore{fail: func(int) error { return nil }}
	if err := runWithClaims(t, j, s); transfer.CodeOf(err) != transfer.CodeRefused {
		t.Fatal(err)
	}
	sink.onWrite = nil
	return j, sink, s
}

// TestTargetWrittenByAnotherJobIsReadBack: completely, because a sample may miss a single changed
// chunk, or a range that was left out.
func TestTargetWrittenByAnotherJobIsReadBack(t *testing.T) {
	image := randomBytes(120 * chunkSize)
	clear(image[2*chunkSize : 4*chunkSize])
	j, sink, s := newInterrupted(t, image)
	s.marks["uuid"] = "another"
	sink.data[7*chunkSize]++
	sink.data[3*chunkSize]++
	if err := runWithClaims(t, j, s); err != nil {
		t.Fatal(err)
	}
	checkContent(t, sink, image)
	if c := j.store.saved.Progress.Chunks; c.Done != 120 || c.Verified != 120 || c.Zero != 0 {
		t.Errorf("got %+v, want 120 done and verified, none skipped", c)
	}
	if n := sink.writes[5]; n != 1 {
		t.Errorf("an intact chunk: got %d writes, want 1", n)
	}
}

// TestDoubtSurvivesACrash: right before and right after the save of the plan with the job's new
// mark. The first save of an attempt comes before its claims.
func TestDoubtSurvivesACrash(t *testing.T) {
	for crash := 2; crash <= 3; crash++ {
		image := randomBytes(120 * chunkSize)
		j, sink, s := newInterrupted(t, image)
		s.marks["uuid"] = "another"
		sink.data[7*chunkSize]++
		j.store.saves = 0
		j.store.onSave = func(n int) error {
			if n >= crash {
				return failure(transfer.CodeFenced)
			}
			return nil
		}
		if err := runWithClaims(t, j, s); transfer.CodeOf(err) != transfer.CodeFenced {
			t.Fatal(err)
		}
		j.store.onSave = nil
		if err := runWithClaims(t, j, s); err != nil {
			t.Fatal(err)
		}
		checkContent(t, sink, image)
	}
}

// TestTrustedLedgerIsOnlySampled: if no other job has claimed the target.
func TestTrustedLedgerIsOnlySampled(t *testing.T) {
	image := randomBytes(200 * chunkSize)
	j, sink, s := newInterrupted(t, image)
	clear(sink.reads)
	if err := runWithClaims(t, j, s); err != nil {
		t.Fatal(err)
	}
	checkContent(t, sink, image)
	if n := sink.total(sink.reads); n > 100+ledgerSample+zeroSamples {
		t.Errorf("got %d chunks read back, want at most %d", n, 100+ledgerSample+zeroSamples)
	}
}

// TestOneWrongBitInASampleRaisesNoDoubt: since the transmission may have flipped it.
func TestOneWrongBitInASampleRaisesNoDoubt(t *testing.T) {
	image := randomBytes(120 * chunkSize)
	j, sink, s := newInterrupted(t, image)
	clear(sink.reads)
	first := true
	sink.corruptRead = func(_ transfer.Chunk, _ int, p []byte) {
		if first {
			p[0]++
		}
		first = false
	}
	if err := runWithClaims(t, j, s); err != nil {
		t.Fatal(err)
	}
	if checkContent(t, sink, image); j.store.saved.Plan.Doubted || !j.store.saved.Plan.Blank {
		t.Errorf("got plan %+v, want it blank and not doubted", j.store.saved.Plan)
	}
}

// TestSourceWrittenByAnotherJobIsNotResumed: the two parts of the copy would be of different
// images.
func TestSourceWrittenByAnotherJobIsNotResumed(t *testing.T) {
	image := randomBytes(120 * chunkSize)
	source, sink := newMemImage(image), newMemImage(nil)
	j := newJob(t, source, sink)
	j.spec.Kind, j.spec.Source, j.spec.Target = transfer.Download, transfer.Ref{Endpoint: "e", Drive: "from"},
		transfer.Ref{Path: "/x"}
	j.spec.Concurrency = 1
	sink.onWrite = func(_ context.Context, c transfer.Chunk, _ int) error {
		if c.Index == 10 {
			return failure(transfer.CodeRefused)
		}
		return nil
	}
	s := &claimStore{fail: func(int) error { return nil }, marks: map[string]string{"from": "before"}}
	if err := runWithClaims(t, j, s); transfer.CodeOf(err) != transfer.CodeRefused {
		t.Fatal(err)
	}
	sink.onWrite, s.marks["from"] = nil, "since"
	if err := runWithClaims(t, j, s); transfer.CodeOf(err) != transfer.CodeSourceChanged || sink.commits != 0 ||
		sink.discards != 1 {
		t.Errorf("got %v, %d commits, %d discards; want source_changed, 0, 1", err, sink.commits, sink.discards)
	}
}

// newDriveOpener is an opener whose new drive exists but cannot be opened while err returns an
// error.
type newDriveOpener struct {
	*fakeOpener
	err func() error
}

func (o *newDriveOpener) Sink(ctx context.Context, s *Session, r SinkRequest) (transfer.Sink, error) {
	sink, err := o.fakeOpener.Sink(ctx, s, r)
	if err == nil {
		err = o.err()
	}
	return sink, err
}

func (o *newDriveOpener) run(t *testing.T, j *job) error {
	t.Helper()
	return j.runWith(t.Context(), nil, o, j.store)
}

// TestNewDriveMayNotBeVisibleAtOnce: when it is opened for the first time.
func TestNewDriveMayNotBeVisibleAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		image := randomBytes(5 * chunkSize)
		sink := newMemImage(nil)
		j := newJob(t, newMemImage(image), sink)
		j.opener.drive = "uuid"
		visible := time.Now().Add(flow.DefaultPolicy.NotYetVisible - time.Second)
		o := &newDriveOpener{fakeOpener: j.opener, err: func() error {
			if time.Now().Before(visible) {
				return failure(transfer.CodeNotFound)
			}
			return nil
		}}
		if err := o.run(t, j); err != nil {
			t.Fatal(err)
		}
		checkContent(t, sink, image)
	})
}

// skewedStore is a store whose clock differs from this host's.
type skewedStore struct {
	*memoryStore
	shift time.Duration
}

func (s *skewedStore) Now() time.Time { return time.Now().Add(s.shift) }

// TestNewDriveOfAnotherHostMayNotBeVisible: a drive that another host has just made is waited for,
// whatever the clocks of the two hosts show. One that was made an hour ago is not.
func TestNewDriveOfAnotherHostMayNotBeVisible(t *testing.T) {
	for _, shift := range []time.Duration{0, 2 * time.Hour, -2 * time.Hour} {
		for age, makes := range map[time.Duration]int{time.Second: 0, time.Hour: 1} {
			synctest.Test(t, func(t *testing.T) {
				j := newJob(t, newMemImage(randomBytes(5*chunkSize)), newMemImage(nil))
				j.opener.drive = "another"
				store := &skewedStore{j.store, shift}
				j.store.saved.Plan.Drive, j.store.saved.Plan.Created = "uuid", store.Now().Add(-age)
				began := time.Now()
				o := &newDriveOpener{fakeOpener: j.opener, err: func() error {
					if time.Since(began) < time.Minute {
						return failure(transfer.CodeNotFound)
					}
					return nil
				}}
				err := j.runWith(t.Context(), nil, o, store)
				if made := store.saved.Plan.Drive != "uuid"; err != nil || made != (makes > 0) {
					t.Errorf("clock off by %s, drive made %s ago: got %v, another drive %t; want no error, %t",
						shift, age, err, made, makes > 0)
				}
			})
		}
	}
}

// TestRequestedDriveIsFoundAgain: after a failure right after the drive was made, and after a crash
// before the response.
func TestRequestedDriveIsFoundAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := newMemImage(nil)
		j := newJob(t, newMemImage(randomBytes(5*chunkSize)), sink)
		j.opener.drive = "uuid"
		unauthorized := func() error { return failure(transfer.CodeUnauthorized) }
		o := &newDriveOpener{fakeOpener: j.opener, err: unauthorized}
		if err := o.run(t, j); transfer.CodeOf(err) != transfer.CodeUnauthorized || j.store.saved.Plan.Drive != "uuid" {
			t.Errorf("got %v and drive %q, want code unauthorized and \"uuid\"", err, j.store.saved.Plan.Drive)
		}
		j.store.saved.Plan = transfer.Plan{DriveRequested: true} // as a crash would leave it
		o.err = func() error { return nil }
		if err := o.run(t, j); err != nil || !slices.Equal(o.finds, []bool{false, true}) {
			t.Errorf("got %v, find %v; want no error, false and then true", err, o.finds)
		}
	})
}

// TestDestroyedDriveIsMadeAgain: the job starts over with a new drive.
func TestDestroyedDriveIsMadeAgain(t *testing.T) {
	image := randomBytes(120 * chunkSize)
	j, sink, _ := newInterrupted(t, image)
	j.store.saved.Plan.Created = time.Now().Add(-time.Hour)
	gone := true
	o := &newDriveOpener{fakeOpener: j.opener, err: func() error {
		if gone {
			gone = false
			clear(sink.data)
			return failure(transfer.CodeNotFound)
		}
		return nil
	}}
	if err := o.run(t, j); err != nil {
		t.Fatal(err)
	}
	if checkContent(t, sink, image); j.store.saved.Progress.Chunks.Done != 120 {
		t.Errorf("got %+v, want 120 chunks done", j.store.saved.Progress.Chunks)
	}
}

// changing is a source that changes while it is read.
type changing struct{ *memImage }

func (changing) Unchanged(context.Context) error { return failure(transfer.CodeSourceChanged) }

// TestChangedImageIsNoMismatch: the error says that the image changed, not that the drive is wrong.
func TestChangedImageIsNoMismatch(t *testing.T) {
	image := randomBytes(5 * chunkSize)
	sink := newMemImage(append([]byte(nil), image...))
	image[0]++
	j := newJob(t, changing{newMemImage(image)}, sink)
	j.spec.Kind = transfer.Verify
	j.mustFail(transfer.CodeSourceChanged)
}

// TestDoubtSurvivesAnAttemptThatOpensNothing: the last save of such an attempt has the new mark,
// and so must have the doubt.
func TestDoubtSurvivesAnAttemptThatOpensNothing(t *testing.T) {
	image := randomBytes(120 * chunkSize)
	j, sink, s := newInterrupted(t, image)
	s.marks["uuid"] = "another"
	sink.data[7*chunkSize]++
	j.opener.opened = nil
	j.opener.open = func(what string, _ int) error {
		if what == "source" {
			return failure(transfer.CodeRefused)
		}
		return nil
	}
	if err := runWithClaims(t, j, s); transfer.CodeOf(err) != transfer.CodeRefused {
		t.Fatal(err)
	}
	j.opener.open = nil
	if err := runWithClaims(t, j, s); err != nil {
		t.Fatal(err)
	}
	checkContent(t, sink, image)
}
