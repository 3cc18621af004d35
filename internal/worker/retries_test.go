package worker

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/transferd/transferd/internal/flow"
	"github.com/transferd/transferd/internal/transfer"
)

// TestTemporaryFailuresAreRetried: of reads and writes, with every code that may be temporary.
func TestTemporaryFailuresAreRetried(t *testing.T) {
	for code, count := range map[transfer.Code]func(transfer.Retries) int64{
		transfer.CodeTimeout:     func(r transfer.Retries) int64 { return r.Timeout },
		transfer.CodeServer:      func(r transfer.Retries) int64 { return r.Server },
		transfer.CodeThrottled:   func(r transfer.Retries) int64 { return r.Server },
		transfer.CodeNetwork:     func(r transfer.Retries) int64 { return r.Network },
		transfer.CodeUnreachable: func(r transfer.Retries) int64 { return r.Network },
	} {
		synctest.Test(t, func(t *testing.T) {
			image := randomBytes(5 * chunkSize)
			source, sink := newMemImage(image), newMemImage(nil)
			source.onRead, sink.onWrite, sink.onRead = times(1, code), times(2, code), times(1, code)
			p := newJob(t, source, sink).mustRun()
			checkContent(t, sink, image)
			if got := count(p.Retries); got != 4*5 || p.Retries.Sum() != got || p.Chunks.Sent != 5 {
				t.Errorf("%s: got retries %+v and %+v, want 20 of one kind and 5 chunks sent",
					code, p.Retries, p.Chunks)
			}
		})
	}
}

// TestRetriesEndWithThePolicy: when an operation has failed for as long as the policy allows, and
// not before.
func TestRetriesEndWithThePolicy(t *testing.T) {
	for code, limit := range map[transfer.Code]time.Duration{
		transfer.CodeServer: flow.DefaultPolicy.Call, transfer.CodeConflict: flow.DefaultPolicy.Busy,
	} {
		synctest.Test(t, func(t *testing.T) {
			sink := newMemImage(nil)
			sink.onWrite = times(1<<30, code)
			started := time.Now()
			newJob(t, newMemImage(randomBytes(10)), sink).mustFail(code)
			if took := time.Since(started); took > limit || took < limit-2*flow.DefaultPolicy.Cap {
				t.Errorf("%s: gave up after %s, want about %s", code, took, limit)
			}
		})
	}
}

// TestUnreachableEndpointFailsSoonAtFirst: an endpoint that has never responded is probably
// configured wrong.
func TestUnreachableEndpointFailsSoonAtFirst(t *testing.T) {
	for _, end := range []string{"source", "sink"} {
		synctest.Test(t, func(t *testing.T) {
			j := newJob(t, newMemImage(randomBytes(10)), newMemImage(nil))
			j.opener.open = func(what string, n int) error {
				if what == end {
					return failure(transfer.CodeUnreachable)
				}
				return nil
			}
			started := time.Now()
			j.mustFail(transfer.CodeUnreachable)
			if took := time.Since(started); took > flow.DefaultPolicy.Connect {
				t.Errorf("%s: gave up after %s, want at most %s", end, took, flow.DefaultPolicy.Connect)
			}
		})
	}
}

// TestEndpointMayBeUnreachableForMinutes: during a copy, at the start of a later attempt, and, if
// it responds at all, at the start of the first one.
func TestEndpointMayBeUnreachableForMinutes(t *testing.T) {
	const minutes = 5 * time.Minute
	synctest.Test(t, func(t *testing.T) {
		image := randomBytes(20 * chunkSize)
		sink := newMemImage(nil)
		j := newJob(t, newMemImage(image), sink)
		j.opener.drive = "uuid"
		var back atomic.Pointer[time.Time] // lanes share it
		leave := func() {
			at := time.Now().Add(minutes)
			back.Store(&at)
		}
		until := func(code transfer.Code) error {
			if time.Now().Before(*back.Load()) {
				return failure(code)
			}
			return nil
		}
		throttled := &transfer.Error{Code: transfer.CodeThrottled, RetryAfter: 20 * time.Second,
			Err: errors.New("too many")}
		j.opener.open = func(string, int) error {
			if until(transfer.CodeThrottled) != nil {
				return throttled
			}
			return nil
		}
		var again atomic.Bool
		sink.onWrite = func(_ context.Context, c transfer.Chunk, n int) error {
			if c.Index == 10 && n == 1 {
				leave()
				again.Store(true)
			}
			if c.Index == 15 && again.Load() && until(transfer.CodeUnreachable) == nil {
				return failure(transfer.CodeRefused)
			}
			if c.Index == 15 {
				return failure(transfer.CodeUnreachable)
			}
			return until(transfer.CodeUnreachable)
		}
		leave()
		j.mustFail(transfer.CodeRefused)
		leave()
		sink.onWrite = nil
		j.opener.open = func(string, int) error { return until(transfer.CodeUnreachable) }
		j.mustRun()
		checkContent(t, sink, image)
	})
}

// TestPermanentFailuresAreNotRetried: the job ends after one try.
func TestPermanentFailuresAreNotRetried(t *testing.T) {
	for _, code := range []transfer.Code{
		transfer.CodeUnauthorized, transfer.CodeRefused, transfer.CodeNotFound, transfer.CodeProtocol,
		transfer.CodeUntrusted,
		transfer.CodeNoSpace, transfer.CodeSourceChanged,
	} {
		sink := newMemImage(nil)
		sink.onWrite = times(1<<30, code)
		j := newJob(t, newMemImage(randomBytes(10)), sink)
		j.mustFail(code)
		if n := sink.total(sink.writes); n != 1 || sink.commits != 0 {
			t.Errorf("%s: got %d writes and %d commits, want 1 and 0", code, n, sink.commits)
		}
	}
}

// TestRetryAfterIsWaited: as long as the endpoint asks for.
func TestRetryAfterIsWaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := newMemImage(nil)
		sink.onWrite = func(_ context.Context, _ transfer.Chunk, n int) error {
			if n > 1 {
				return nil
			}
			return &transfer.Error{Code: transfer.CodeThrottled, RetryAfter: time.Minute, Err: errors.New("slow down")}
		}
		started := time.Now()
		newJob(t, newMemImage(randomBytes(10)), sink).mustRun()
		if took := time.Since(started); took < time.Minute || took > time.Minute+5*time.Second {
			t.Errorf("waited %s, want about a minute", took)
		}
	})
}

// TestBusyDriveGetsOneCallAtATime: while a drive is busy for a minute with many chunks in flight.
func TestBusyDriveGetsOneCallAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		image := randomBytes(64 * chunkSize)
		sink := newMemImage(nil)
		busyFrom := time.Now().Add(150 * time.Millisecond)
		busyTo := busyFrom.Add(time.Minute)
		var mu sync.Mutex
		running, most, calls := 0, 0, 0
		sink.onWrite = func(ctx context.Context, _ transfer.Chunk, _ int) error {
			if err := sleep(ctx, 100*time.Millisecond); err != nil { // a call takes time, so that calls overlap
				return err
			}
			now := time.Now()
			if now.Before(busyFrom) || now.After(busyTo) {
				return nil
			}
			mu.Lock()
			// Calls in flight when the drive became busy end within one call's time.
			if inFlightEnded := now.Sub(busyFrom) > 100*time.Millisecond; inFlightEnded {
				running, calls = running+1, calls+1
				most = max(most, running)
			}
			mu.Unlock()
			err := sleep(ctx, 100*time.Millisecond)
			mu.Lock()
			running = max(0, running-1)
			mu.Unlock()
			if err != nil {
				return err
			}
			return failure(transfer.CodeConflict)
		}
		j := newJob(t, newMemImage(image), sink)
		j.spec.Concurrency = 16
		p := j.mustRun()
		checkContent(t, sink, image)
		if most != 1 || calls == 0 || p.Retries.Conflict == 0 {
			t.Errorf("got %d calls at once to a busy drive, %d in all, retries %+v; want one at once",
				most, calls, p.Retries)
		}
		if took := time.Since(busyFrom); took > time.Minute+flow.DefaultPolicy.Cap*2+5*time.Second {
			t.Errorf("took %s, want about a minute", took)
		}
	})
}

// TestNotFoundIsRetriedOnlyForANewDrive: and only for a while.
func TestNotFoundIsRetriedOnlyForANewDrive(t *testing.T) {
	for _, tc := range []struct {
		made    bool
		unknown time.Duration
		code    transfer.Code
	}{{true, time.Minute, ""}, {true, time.Hour, transfer.CodeNotFound}, {false, time.Minute, transfer.CodeNotFound}} {
		synctest.Test(t, func(t *testing.T) {
			started := time.Now()
			sink := newMemImage(nil)
			sink.onWrite = func(context.Context, transfer.Chunk, int) error {
				if time.Since(started) < tc.unknown {
					return failure(transfer.CodeNotFound)
				}
				return nil
			}
			j := newJob(t, newMemImage(randomBytes(10)), sink)
			if tc.made {
				j.opener.drive = "uuid"
			}
			err := j.run(t.Context(), nil)
			if transfer.CodeOf(err) != tc.code {
				t.Errorf("%+v: got %v, want code %q", tc, err, tc.code)
			}
		})
	}
}

// flip returns a fault that flips a bit of chunk 2 in the first calls.
func flip(first int) func(transfer.Chunk, int, []byte) {
	return func(c transfer.Chunk, n int, p []byte) {
		if c.Index == 2 && n <= first {
			p[17] ^= 4
		}
	}
}

// TestFlippedBitsAreFoundAndRewritten: unless the fault is permanent.
func TestFlippedBitsAreFoundAndRewritten(t *testing.T) {
	image := randomBytes(5 * chunkSize)
	for name, tc := range map[string]struct {
		write, read int // so many writes and reads of chunk 2 are wrong
		mode        transfer.VerifyMode
		sent        int64
		code        transfer.Code
	}{
		"written wrong once":   {write: 1, mode: transfer.VerifyWritten, sent: 6},
		"read back wrong once": {read: 1, mode: transfer.VerifyWritten, sent: 5},
		"written wrong often":  {write: maxWrites - 1, mode: transfer.VerifyWritten, sent: 5 + maxWrites - 1},
		"always written wrong": {write: 1 << 30, mode: transfer.VerifyWritten, code: transfer.CodeMismatch},
		"always read wrong":    {read: 1 << 30, mode: transfer.VerifyWritten, code: transfer.CodeMismatch},
	} {
		for kind, wrap := range map[string]func(*memImage) transfer.Sink{
			"two calls": func(m *memImage) transfer.Sink { return m },
			"one call":  func(m *memImage) transfer.Sink { return writeBackSink{m} },
		} {
			t.Run(name+", "+kind, func(t *testing.T) {
				sink := newMemImage(nil)
				sink.corruptWrite, sink.corruptRead = flip(tc.write), flip(tc.read)
				j := newJob(t, newMemImage(image), wrap(sink))
				j.spec.Verify = tc.mode
				if tc.code != "" {
					f := j.mustFail(tc.code)
					if f.Offset == nil || *f.Offset != 2*chunkSize+17 || f.Hint == "" || sink.commits != 0 {
						t.Errorf("got %+v, want the offset of the bit, a hint and no commit", f)
					}
					return
				}
				p := j.mustRun()
				checkContent(t, sink, image)
				if p.Chunks.Sent != tc.sent || p.Retries.Mismatch == 0 || !p.Verified {
					t.Errorf("got %+v and %+v, want %d sent, a mismatch, verified", p.Chunks, p.Retries, tc.sent)
				}
			})
		}
	}
}

// TestFullVerificationRewritesAChangedChunk: one that changes after it was read back.
func TestFullVerificationRewritesAChangedChunk(t *testing.T) {
	image := randomBytes(20 * chunkSize)
	sink := newMemImage(nil)
	var once sync.Once
	sink.onRead = func(_ context.Context, c transfer.Chunk, n int) error {
		if n == 2 { // the second pass has begun
			once.Do(func() { sink.data[15*chunkSize] ^= 1 })
		}
		return nil
	}
	j := newJob(t, newMemImage(image), sink)
	j.spec.Verify, j.spec.Concurrency = transfer.VerifyFull, 1
	j.mustRun()
	checkContent(t, sink, image)
}

// TestFullDownloadReadsUntilTwoReadsAgree: the copy is what two reads agree on.
func TestFullDownloadReadsUntilTwoReadsAgree(t *testing.T) {
	image := randomBytes(5 * chunkSize)
	for name, wrong := range map[string]func(n int) bool{
		"first": func(n int) bool { return n == 1 }, "second": func(n int) bool { return n == 2 },
		"first and third": func(n int) bool { return n == 1 || n == 3 },
	} {
		source, sink := newMemImage(image), newMemImage(nil)
		source.corruptRead = func(c transfer.Chunk, n int, p []byte) {
			if wrong(n) {
				p[n] ^= byte(n)
			}
		}
		j := newJob(t, source, sink)
		j.spec.Kind, j.spec.Verify = transfer.Download, transfer.VerifyFull
		p := j.mustRun()
		if checkContent(t, sink, image); p.Retries.Mismatch == 0 {
			t.Errorf("%s: got retries %+v, want a mismatch", name, p.Retries)
		}
	}
	source := newMemImage(image)
	source.corruptRead = func(_ transfer.Chunk, n int, p []byte) { p[0] = byte(n) }
	j := newJob(t, source, newMemImage(nil))
	j.spec.Kind, j.spec.Verify = transfer.Download, transfer.VerifyFull
	j.mustFail(transfer.CodeMismatch)
}

// TestCloneMakesOneDriveAndComparesIt: after the endpoint has completed the copy, whatever fails on
// the way.
func TestCloneMakesOneDriveAndComparesIt(t *testing.T) {
	for _, differs := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			image := randomBytes(5 * chunkSize)
			made := newMemImage(append([]byte(nil), image...))
			if differs {
				made.data[4*chunkSize] ^= 1
			}
			j := newJob(t, newMemImage(image), made)
			j.spec.Kind, j.spec.Source = transfer.Clone, transfer.Ref{Endpoint: "e", Drive: "origin"}
			j.opener.drive, j.opener.ready = "uuid", 5
			var refused atomic.Int64
			j.opener.open = func(what string, n int) error {
				if n <= 2 && (what == "provision" || what == "ready") {
					refused.Add(1)
					return failure(transfer.CodeConflict)
				}
				return nil
			}
			err := j.run(t.Context(), nil)
			p := j.store.saved.Progress
			if made.total(made.writes) > 0 || p.Drive != "uuid" || refused.Load() != 4 || p.Retries.Conflict != 4 {
				t.Errorf("got %d writes, drive %q, retries %+v; want 0, \"uuid\", 4 conflicts",
					made.total(made.writes), p.Drive, p.Retries)
			}
			if want := map[bool]transfer.Code{true: transfer.CodeMismatch}[differs]; transfer.CodeOf(err) != want ||
				p.Verified == differs {
				t.Errorf("got %v, verified %v; want code %q, %v", err, p.Verified, want, !differs)
			}
			// The retried job does not request another copy.
			j.opener.source = newMemImage(image)
			_ = j.run(t.Context(), nil)
			if j.opener.opened["provision"] != 3 {
				t.Errorf("got %d clones, want 1", j.opener.opened["provision"]-2)
			}
		})
	}
}
