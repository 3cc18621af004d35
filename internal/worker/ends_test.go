package worker

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/transfer"
)

// flaky is a memImage whose control calls may fail.
type flaky struct {
	*memImage
	fail   func(call string, n int) error
	calls  map[string]int
	closed int
}

func newFlaky(m *memImage, fail func(call string, n int) error) *flaky {
	return &flaky{memImage: m, fail: fail, calls: make(map[string]int)}
}

func (f *flaky) called(call string) error {
	f.calls[call]++
	return f.fail(call, f.calls[call])
}

func (f *flaky) Blank(ctx context.Context) (bool, error) {
	if err := f.called("blank"); err != nil {
		return false, err
	}
	return f.memImage.Blank(ctx)
}

func (f *flaky) Commit(ctx context.Context, m *transfer.Manifest, owned func(context.Context) error) error {
	if err := f.called("commit"); err != nil {
		return err
	}
	return f.memImage.Commit(ctx, m, owned)
}

func (f *flaky) Unchanged(context.Context) error { return f.called("unchanged") }

func (f *flaky) Close() error {
	f.closed++
	return nil
}

func never(string, int) error { return nil }

// TestControlCallsAreRetried: like those that move chunks.
func TestControlCallsAreRetried(t *testing.T) {
	for _, code := range []transfer.Code{transfer.CodeServer, transfer.CodeConflict} {
		synctest.Test(t, func(t *testing.T) {
			image, m := randomBytes(3*chunkSize), newMemImage(nil)
			m.blank = true
			sink := newFlaky(m, func(_ string, n int) error {
				if n < 3 {
					return failure(code)
				}
				return nil
			})
			j := newJob(t, newMemImage(image), sink)
			j.opener.open = sink.fail
			p := j.mustRun()
			checkContent(t, m, image)
			if m.commits != 1 || sink.calls["blank"] != 3 || sink.calls["commit"] != 3 || p.Retries.Sum() != 14 {
				t.Errorf("%s: got %d commits, calls %v, retries %+v; want 1, 3 of each kind, 14",
					code, m.commits, sink.calls, p.Retries)
			}
		})
	}
}

// TestNewDriveMayNotBeVisibleToControlCalls: a new drive is already visible where it is written,
// but not where it is checked or completed.
func TestNewDriveMayNotBeVisibleToControlCalls(t *testing.T) {
	for _, call := range []string{"blank", "commit"} {
		synctest.Test(t, func(t *testing.T) {
			started := time.Now()
			sink := newFlaky(newMemImage(nil), func(what string, _ int) error {
				if what == call && time.Since(started) < time.Minute {
					return failure(transfer.CodeNotFound)
				}
				return nil
			})
			j := newJob(t, newMemImage(randomBytes(10)), sink)
			j.opener.drive = "uuid"
			if err := j.run(t.Context(), nil); err != nil || time.Since(started) < time.Minute {
				t.Errorf("%s: ended after %s with %v, want no error after a minute", call, time.Since(started), err)
			}
		})
	}
}

// TestCopyOfAChangedSourceIsDiscarded: if the source changes while it is read, the copy is
// worthless.
func TestCopyOfAChangedSourceIsDiscarded(t *testing.T) {
	sink := newMemImage(nil)
	source := newFlaky(newMemImage(randomBytes(3*chunkSize)), func(call string, _ int) error {
		if call == "unchanged" {
			return failure(transfer.CodeSourceChanged)
		}
		return nil
	})
	j := newJob(t, source, sink)
	j.mustFail(transfer.CodeSourceChanged)
	if sink.commits != 0 || sink.discards != 1 {
		t.Errorf("got %d commits and %d discards, want 0 and 1", sink.commits, sink.discards)
	}
}

// TestBothEndsAreClosedOnce: however the attempt ends.
func TestBothEndsAreClosedOnce(t *testing.T) {
	for name, tc := range map[string]struct {
		prepare func(j *job, source *memImage, sink *memImage)
		code    transfer.Code
		sinks   int
	}{
		"done": {func(*job, *memImage, *memImage) {}, "", 1},
		"write refused": {func(_ *job, _, sink *memImage) { sink.onWrite = times(1, transfer.CodeRefused) },
			transfer.CodeRefused, 1},
		"read refused": {func(_ *job, source, _ *memImage) { source.onRead = times(1, transfer.CodeRefused) },
			transfer.CodeRefused, 1},
		"source changed": {func(j *job, _, _ *memImage) { j.store.saved.Plan.Source = "zero" },
			transfer.CodeSourceChanged, 0},
		"empty": {func(_ *job, source, _ *memImage) { source.data = nil }, transfer.CodeInvalid, 0},
		"bad extents": {func(_ *job, source, _ *memImage) {
			source.extents = []transfer.Extent{{Off: 5, Len: 10}, {Off: 7, Len: 10}}
		}, transfer.CodeInvalid, 1},
		"bad extents, blank": {func(_ *job, source, sink *memImage) {
			source.extents, sink.blank = []transfer.Extent{{Len: 1 << 40}}, true
		}, transfer.CodeInvalid, 1},
		"fenced": {func(j *job, _, _ *memImage) {
			j.opener.drive, j.store.onSave = "uuid", func(n int) error {
				if n <= 2 {
					return nil // the first save, and that of DriveRequested
				}
				return failure(transfer.CodeFenced)
			}
		}, transfer.CodeFenced, 0},
	} {
		a, b := newMemImage(randomBytes(5*chunkSize)), newMemImage(nil)
		source, sink := newFlaky(a, never), newFlaky(b, never)
		j := newJob(t, source, sink)
		tc.prepare(j, a, b)
		if err := j.run(t.Context(), nil); transfer.CodeOf(err) != tc.code {
			t.Errorf("%s: got %v, want code %q", name, err, tc.code)
		}
		if source.closed != 1 || sink.closed != tc.sinks {
			t.Errorf("%s: got %d closes of the source and %d of the target, want 1 and %d",
				name, source.closed, sink.closed, tc.sinks)
		}
		if tc.code == transfer.CodeFenced && b.total(b.writes) > 0 {
			t.Errorf("%s: got writes, want none", name)
		}
	}
}

// TestErrorsNameTheChunk: and its offset, for reads and writes.
func TestErrorsNameTheChunk(t *testing.T) {
	for _, op := range []string{"read", "write", "read back"} {
		source, sink := newMemImage(randomBytes(5*chunkSize)), newMemImage(nil)
		fail := func(_ context.Context, c transfer.Chunk, _ int) error {
			if c.Index != 2 {
				return nil
			}
			return transfer.Errorf(transfer.CodeRefused, "ask the provider", "injected")
		}
		switch op {
		case "read":
			source.onRead = fail
		case "write":
			sink.onWrite = fail
		default:
			sink.onRead = fail
		}
		f := newJob(t, source, sink).mustFail(transfer.CodeRefused)
		if f.Offset == nil || *f.Offset != 2*chunkSize || f.Hint != "ask the provider" ||
			!strings.HasPrefix(f.Message, op+" chunk 2: ") {
			t.Errorf("%s: got %+v, want the chunk's offset, the cause's hint and \"%s chunk 2: \"", op, f, op)
		}
	}
}

// TestGivingUpKeepsTheHint: and says how long the call was retried.
func TestGivingUpKeepsTheHint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := newMemImage(nil)
		sink.onWrite = func(context.Context, transfer.Chunk, int) error {
			return transfer.Errorf(transfer.CodeServer, "ask the provider", "injected")
		}
		f := newJob(t, newMemImage(randomBytes(10)), sink).mustFail(transfer.CodeServer)
		if f.Hint != "ask the provider" || !strings.Contains(f.Message, "gave up after ") ||
			!strings.HasSuffix(f.Message, "injected") {
			t.Errorf("got %+v, want the cause and its hint, and \"gave up after\"", f)
		}
	})
}

// TestProvisionSearchesForAnEarlierDrive: once a call may have made one, in this attempt or an
// earlier one.
func TestProvisionSearchesForAnEarlierDrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJob(t, newMemImage(randomBytes(3*chunkSize)), newMemImage(nil))
		j.opener.drive = "uuid"
		j.opener.open = func(what string, n int) error {
			if what == "provision" && n == 1 {
				return failure(transfer.CodeTimeout)
			}
			if what == "provision" && n == 2 {
				return failure(transfer.CodeUnauthorized)
			}
			return nil
		}
		j.mustFail(transfer.CodeUnauthorized)
		j.mustRun()
		if want := []bool{false, true, true}; !slices.Equal(j.opener.finds, want) {
			t.Errorf("got %v, want %v", j.opener.finds, want)
		}
	})
}

// TestSinkIsOpenedToResume: once chunks have been stored. Observe gets the final progress.
func TestSinkIsOpenedToResume(t *testing.T) {
	j := newHalfDone(t, newMemImage(randomBytes(20*chunkSize)), newMemImage(nil))
	j.opener.requests = nil
	var seen transfer.Progress
	w := New(Config{Opener: j.opener, Policy: j.policy, Log: zap.NewNop(),
		Observe: func(p transfer.Progress) { seen = p }})
	j.spec.Target.Drive = "old"
	for attempt, store := range []*memoryStore{{}, j.store} {
		j.opener.tags.Incomplete = true
		if err := w.Run(t.Context(), nil, Job{ID: "job", Spec: j.spec}, store); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(seen, store.saved.Progress) || seen.Chunks.Done != 20 || !seen.Verified {
			t.Errorf("attempt %d: got last progress %+v, want the saved one, with 20 chunks, verified", attempt+1, seen)
		}
		if got, want := j.opener.requests[attempt],
			(SinkRequest{Drive: "old", Size: 20 * chunkSize, Resume: attempt == 1}); got != want {
			t.Errorf("attempt %d: got %+v, want %+v", attempt+1, got, want)
		}
	}
}

// TestMissingAbilityFailsTheJob: before its first chunk, if a source or sink lacks what its kind or
// its traits promise.
func TestMissingAbilityFailsTheJob(t *testing.T) {
	plain := struct{ transfer.Sink }{newMemImage(nil)}
	for _, traits := range []transfer.Traits{
		{ReadBack: transfer.ReadBackAtOnce, Zeros: transfer.ZerosWritten},
		{ReadBack: transfer.ReadBackAfterFlush, Zeros: transfer.ZerosWritten},
		{ReadBack: transfer.ReadBackAfterCommit, Zeros: transfer.ZerosWritten},
		{ReadBack: transfer.ReadBackNever, Zeros: transfer.ZerosCleared},
		{ReadBack: transfer.ReadBackNever, Zeros: transfer.ZerosSkipped},
	} {
		sink := bareSink{plain, traits}
		if err := new(ends).setSink(sink); transfer.CodeOf(err) != transfer.CodeFailed {
			t.Errorf("%+v: got %v, want %s", traits, err, transfer.CodeFailed)
		}
		newJob(t, newMemImage(randomBytes(chunkSize)), sink).mustFail(transfer.CodeFailed)
	}
	for _, source := range []transfer.Source{
		struct{ transfer.Source }{newMemImage(nil)},
		twoKinds{manifestOf(randomBytes(chunkSize))},
	} {
		if err := new(ends).setSource(source); err == nil {
			t.Errorf("%T: got no error, want one", source)
		}
	}
}

// bareSink is a sink with traits but without abilities.
type bareSink struct {
	transfer.Sink
	traits transfer.Traits
}

func (p bareSink) Traits() transfer.Traits { return p.traits }

// twoKinds is a source of two kinds at once.
type twoKinds struct{ manifest }

func (twoKinds) ReadChunk(context.Context, transfer.Chunk, []byte) error { return nil }
