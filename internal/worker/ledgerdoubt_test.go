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

// halfOf runs a first attempt that the endpoint ends after a hundred chunks, on a target with zeros
// left out.
func halfOf(t *testing.T, image []byte) (j *job, sink *chunked, s *claiming) {
	t.Helper()
	sink = newChunked(make([]byte, len(image)))
	sink.blank = true
	j = newJob(t, newChunked(image), sink)
	j.spec.Concurrency, j.ends.drive = 1, "uuid"
	sink.onWrite = func(context.Context, transfer.Chunk, int) error {
		if sink.total(sink.writes) > 100 {
			return failure(transfer.CodeRefused)
		}
		return nil
	}
	s = &claiming{fail: func(int) error { return nil }}
	if err := runClaiming(t, j, s); transfer.CodeOf(err) != transfer.CodeRefused {
		t.Fatal(err)
	}
	sink.onWrite = nil
	return j, sink, s
}

// TestWrittenByAnother has another job write to the drive between two attempts, even if only one
// chunk, which no sample need find, and a place that was left out because it is zeros.
func TestWrittenByAnother(t *testing.T) {
	image := noise(120 * chunkSize)
	clear(image[2*chunkSize : 4*chunkSize])
	j, sink, s := halfOf(t, image)
	s.marks["uuid"] = "another"
	sink.data[7*chunkSize]++
	sink.data[3*chunkSize]++
	if err := runClaiming(t, j, s); err != nil {
		t.Fatal(err)
	}
	equal(t, sink, image)
	if c := j.store.saved.Progress.Chunks; c.Done != 120 || c.Verified != 120 || c.Zero != 0 {
		t.Errorf("%+v", c)
	}
	if n := sink.writes[5]; n != 1 {
		t.Errorf("a chunk that was there was written %d times", n)
	}
}

// TestDoubtLasts over a crash right after the other's mark was replaced by ours, and before the
// plan with it was saved; and over one after it was. The first save of an attempt is before its
// claims.
func TestDoubtLasts(t *testing.T) {
	for crash := 2; crash <= 3; crash++ {
		image := noise(120 * chunkSize)
		j, sink, s := halfOf(t, image)
		s.marks["uuid"] = "another"
		sink.data[7*chunkSize]++
		j.store.saves = 0
		j.store.onSave = func(n int) error {
			if n >= crash {
				return failure(transfer.CodeFenced)
			}
			return nil
		}
		if err := runClaiming(t, j, s); transfer.CodeOf(err) != transfer.CodeFenced {
			t.Fatal(err)
		}
		j.store.onSave = nil
		if err := runClaiming(t, j, s); err != nil {
			t.Fatal(err)
		}
		equal(t, sink, image)
	}
}

// TestVouched believes the ledger of a target that no other job has claimed: only a sample is
// read back.
func TestVouched(t *testing.T) {
	image := noise(200 * chunkSize)
	j, sink, s := halfOf(t, image)
	clear(sink.reads)
	if err := runClaiming(t, j, s); err != nil {
		t.Fatal(err)
	}
	equal(t, sink, image)
	if n := sink.total(sink.reads); n > 100+ledgerSample+zeroSamples {
		t.Errorf("%d chunks were read back", n)
	}
}

// TestSampleOnTheWay does not doubt a ledger because of one bit that was wrong on the way back.
func TestSampleOnTheWay(t *testing.T) {
	image := noise(120 * chunkSize)
	j, sink, s := halfOf(t, image)
	clear(sink.reads)
	first := true
	sink.lieRead = func(_ transfer.Chunk, _ int, p []byte) {
		if first {
			p[0]++
		}
		first = false
	}
	if err := runClaiming(t, j, s); err != nil {
		t.Fatal(err)
	}
	if equal(t, sink, image); j.store.saved.Plan.Doubted || !j.store.saved.Plan.Blank {
		t.Errorf("%+v", j.store.saved.Plan)
	}
}

// TestSourceWrittenByAnother does not go on with a drive of which one half is older than the other.
func TestSourceWrittenByAnother(t *testing.T) {
	image := noise(120 * chunkSize)
	source, sink := newChunked(image), newChunked(nil)
	j := newJob(t, source, sink)
	j.spec.Kind, j.spec.Source, j.spec.Target = transfer.Download, transfer.Ref{Endpoint: "e", Drive: "from"}, transfer.Ref{Path: "/x"}
	j.spec.Concurrency = 1
	sink.onWrite = func(_ context.Context, c transfer.Chunk, _ int) error {
		if c.Index == 10 {
			return failure(transfer.CodeRefused)
		}
		return nil
	}
	s := &claiming{fail: func(int) error { return nil }, marks: map[string]string{"from": "before"}}
	if err := runClaiming(t, j, s); transfer.CodeOf(err) != transfer.CodeRefused {
		t.Fatal(err)
	}
	sink.onWrite, s.marks["from"] = nil, "since"
	if err := runClaiming(t, j, s); transfer.CodeOf(err) != transfer.CodeSourceChanged || sink.commits != 0 || sink.discards != 1 {
		t.Errorf("%v, %d commits, %d discards", err, sink.commits, sink.discards)
	}
}

// madeThen is an opener whose new drive is there, but cannot be opened for a while.
type madeThen struct {
	*twoEnds
	err func() error
}

func (o *madeThen) Sink(ctx context.Context, s *Session, r SinkRequest) (transfer.Sink, error) {
	sink, err := o.twoEnds.Sink(ctx, s, r)
	if err == nil {
		err = o.err()
	}
	return sink, err
}

func (o *madeThen) run(t *testing.T, j *job) error {
	t.Helper()
	return j.runWith(t.Context(), nil, o, j.store)
}

// TestYoungAtOnce waits for a drive that parts of the endpoint have not heard of when it is opened
// for the first time.
func TestYoungAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		image := noise(5 * chunkSize)
		sink := newChunked(nil)
		j := newJob(t, newChunked(image), sink)
		j.ends.drive = "uuid"
		known := time.Now().Add(flow.DefaultPolicy.NotYetVisible - time.Second)
		o := &madeThen{twoEnds: j.ends, err: func() error {
			if time.Now().Before(known) {
				return failure(transfer.CodeNotFound)
			}
			return nil
		}}
		if err := o.run(t, j); err != nil {
			t.Fatal(err)
		}
		equal(t, sink, image)
	})
}

// clocked is a store whose clock is off from this host's.
type clocked struct {
	*memoryStore
	shift time.Duration
}

func (s *clocked) Now() time.Time { return time.Now().Add(s.shift) }

// TestYoungOnAnotherHost goes on with a drive that another host has made a moment ago, and that
// parts of the endpoint do not know yet, whatever the clocks of the two say; and does not wait for
// one that was made an hour ago.
func TestYoungOnAnotherHost(t *testing.T) {
	for _, shift := range []time.Duration{0, 2 * time.Hour, -2 * time.Hour} {
		for age, makes := range map[time.Duration]int{time.Second: 0, time.Hour: 1} {
			synctest.Test(t, func(t *testing.T) {
				j := newJob(t, newChunked(noise(5*chunkSize)), newChunked(nil))
				j.ends.drive = "another"
				store := &clocked{j.store, shift}
				j.store.saved.Plan.Drive, j.store.saved.Plan.Created = "uuid", store.Now().Add(-age)
				began := time.Now()
				o := &madeThen{twoEnds: j.ends, err: func() error {
					if time.Since(began) < time.Minute {
						return failure(transfer.CodeNotFound)
					}
					return nil
				}}
				err := j.runWith(t.Context(), nil, o, store)
				if made := store.saved.Plan.Drive != "uuid"; err != nil || made != (makes > 0) {
					t.Errorf("clock off by %s, drive made %s ago: %v, another one made: %t", shift, age, err, made)
				}
			})
		}
	}
}

// TestMadeAndAway remembers a drive that was made by an endpoint which was away a moment later, and
// looks for one that it may have made without a word.
func TestMadeAndAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := newChunked(nil)
		j := newJob(t, newChunked(noise(5*chunkSize)), sink)
		j.ends.drive = "uuid"
		away := func() error { return failure(transfer.CodeUnauthorized) }
		o := &madeThen{twoEnds: j.ends, err: away}
		if err := o.run(t, j); transfer.CodeOf(err) != transfer.CodeUnauthorized || j.store.saved.Plan.Drive != "uuid" {
			t.Errorf("%v, the plan has drive %q", err, j.store.saved.Plan.Drive)
		}
		j.store.saved.Plan = transfer.Plan{DriveRequested: true} // as a crash would leave it
		o.err = func() error { return nil }
		if err := o.run(t, j); err != nil || !slices.Equal(o.finds, []bool{false, true}) {
			t.Errorf("%v; an earlier call may have made it: %v", err, o.finds)
		}
	})
}

// TestGone makes another drive when the one that the job made was destroyed.
func TestGone(t *testing.T) {
	image := noise(120 * chunkSize)
	j, sink, _ := halfOf(t, image)
	j.store.saved.Plan.Created = time.Now().Add(-time.Hour)
	gone := true
	o := &madeThen{twoEnds: j.ends, err: func() error {
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
	if equal(t, sink, image); j.store.saved.Progress.Chunks.Done != 120 {
		t.Errorf("%+v", j.store.saved.Progress.Chunks)
	}
}

// changing is a source that was changed while it was read.
type changing struct{ *chunked }

func (changing) Unchanged(context.Context) error { return failure(transfer.CodeSourceChanged) }

// TestVerifyChanged says that an image changed, not that the drive is wrong.
func TestVerifyChanged(t *testing.T) {
	image := noise(5 * chunkSize)
	sink := newChunked(append([]byte(nil), image...))
	image[0]++
	j := newJob(t, changing{newChunked(image)}, sink)
	j.spec.Kind = transfer.Verify
	j.mustFail(transfer.CodeSourceChanged)
}

// TestDoubtOutlastsAnAttemptThatSettledNothing: its last save has the new mark, and must have the
// doubt.
func TestDoubtOutlastsAnAttemptThatSettledNothing(t *testing.T) {
	image := noise(120 * chunkSize)
	j, sink, s := halfOf(t, image)
	s.marks["uuid"] = "another"
	sink.data[7*chunkSize]++
	j.ends.opened = nil
	j.ends.open = func(what string, _ int) error {
		if what == "source" {
			return failure(transfer.CodeRefused)
		}
		return nil
	}
	if err := runClaiming(t, j, s); transfer.CodeOf(err) != transfer.CodeRefused {
		t.Fatal(err)
	}
	j.ends.open = nil
	if err := runClaiming(t, j, s); err != nil {
		t.Fatal(err)
	}
	equal(t, sink, image)
}
