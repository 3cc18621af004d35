package worker

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/transferd/transferd/internal/flow"
	"github.com/transferd/transferd/internal/transfer"
)

// comeBack returns the error of an endpoint that asks for a wait of d.
func comeBack(code transfer.Code, d time.Duration) error {
	return &transfer.Error{Code: code, RetryAfter: d, Err: errors.New("closed for maintenance")}
}

// waitsSeen records the waits that a job shows.
type waitsSeen struct {
	mu   sync.Mutex
	last transfer.Progress
	seen []transfer.Waiting
}

func (s *waitsSeen) observe(p transfer.Progress) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last = p; p.Waiting != nil && (len(s.seen) == 0 || s.seen[len(s.seen)-1] != *p.Waiting) {
		s.seen = append(s.seen, *p.Waiting)
	}
}

func (j *job) runObserved(ctx context.Context, drain <-chan struct{}, s *waitsSeen) error {
	spec := j.spec
	spec.Target.Drive = "old"
	return New(Config{Opener: j.opener, Policy: j.policy, Log: j.log, Observe: s.observe}).
		Run(ctx, drain, Job{ID: "job", Spec: spec}, j.store)
}

// TestRequestedWaitIsWaitedAndShown: all lanes are requested for the same wait of a quarter of an
// hour, which is longer than any call may fail. The job waits that long, shows it, and counts it
// once.
func TestRequestedWaitIsWaitedAndShown(t *testing.T) {
	const requested = 15 * time.Minute
	for _, code := range []transfer.Code{transfer.CodeServer, transfer.CodeThrottled, transfer.CodeConflict} {
		synctest.Test(t, func(t *testing.T) {
			image, sink, source := randomBytes(20*chunkSize), newMemImage(nil), newMemImage(randomBytes(20*chunkSize))
			began := time.Now()
			open := began.Add(requested + time.Minute)
			source.onRead = func(_ context.Context, c transfer.Chunk, _ int) error {
				if now := time.Now(); c.Index >= 5 && now.Before(open) {
					return comeBack(code, open.Sub(now))
				}
				return nil
			}
			var seen waitsSeen
			j := newJob(t, source, sink)
			if err := j.runObserved(t.Context(), nil, &seen); err != nil {
				t.Fatal(err)
			}
			checkContent(t, sink, image)
			if took := time.Since(began); took < requested || took > requested+3*time.Minute {
				t.Errorf("%s: took %s, want about %s", code, took, requested)
			}
			if len(seen.seen) == 0 || !strings.Contains(seen.seen[0].Cause, "closed for maintenance") {
				t.Fatalf("%s: got waits %+v, want the endpoint's cause", code, seen.seen)
			}
			w := seen.seen[0]
			if w.Since.Before(began.Truncate(time.Second)) || w.Until.Before(open.Add(-time.Second)) ||
				!w.GivesUp.After(w.Until) {
				t.Errorf("%s: got %+v, want a wait until %s", code, w, open)
			}
			p := j.store.saved.Progress
			if waited := time.Duration(p.Waited); p.Waiting != nil ||
				waited < requested || waited > requested+2*time.Minute {
				t.Errorf("%s: at the end got %+v and %s waited, want no wait and about %s",
					code, p.Waiting, waited, requested)
			}
		})
	}
}

// TestRepeatedShortWaitsAreShown: a busy drive is shown although each wait is short.
func TestRepeatedShortWaitsAreShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := newMemImage(nil)
		free := time.Now().Add(time.Minute)
		sink.onWrite = func(context.Context, transfer.Chunk, int) error {
			if time.Now().Before(free) {
				return failure(transfer.CodeConflict)
			}
			return nil
		}
		var seen waitsSeen
		if err := newJob(t, newMemImage(randomBytes(chunkSize)), sink).runObserved(t.Context(), nil,
			&seen); err != nil {
			t.Fatal(err)
		}
		if len(seen.seen) == 0 || seen.seen[0].GivesUp.Sub(seen.seen[0].Since) != flow.DefaultPolicy.Busy {
			t.Errorf("got waits %+v, want one with the limit for a busy drive", seen.seen)
		}
	})
}

// TestRequestedWaitsAreBounded: by a day in all, over attempts and calls, unless the job has a
// deadline.
func TestRequestedWaitsAreBounded(t *testing.T) {
	for _, deadline := range []time.Duration{0, 48 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			sink := newMemImage(nil)
			sink.onWrite = func(context.Context, transfer.Chunk, int) error {
				return comeBack(transfer.CodeServer, time.Hour)
			}
			j := newJob(t, newMemImage(randomBytes(8*chunkSize)), sink)
			j.store.saved.Progress.Waited = transfer.Seconds(10 * time.Hour)
			j.spec.Deadline = transfer.Seconds(deadline)
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			if deadline > 0 {
				time.AfterFunc(deadline, func() { cancel(failure(transfer.CodeDeadline)) })
			}
			began := time.Now()
			err := j.run(ctx, nil)
			code, least, most := transfer.CodeServer, 13*time.Hour, 14*time.Hour
			if deadline > 0 {
				code, least, most = transfer.CodeDeadline, deadline, deadline
			}
			if took := time.Since(began); transfer.CodeOf(err) != code || took < least || took > most {
				t.Errorf("deadline %s: got %v after %s, want code %s after %s to %s",
					deadline, err, took, code, least, most)
			}
		})
	}
}

// TestDrainEndsALongWait: even of a chunk in flight, on targets with and without an order.
func TestDrainEndsALongWait(t *testing.T) {
	for _, ordered := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			m := newMemImage(nil)
			m.onWrite = func(_ context.Context, c transfer.Chunk, _ int) error {
				if c.Index == 5 {
					return comeBack(transfer.CodeThrottled, time.Hour)
				}
				return nil
			}
			var sink transfer.Sink = m
			if ordered {
				sink = orderedSink{m}
			}
			j, drain := newJob(t, newMemImage(randomBytes(20*chunkSize)), sink), make(chan struct{})
			began := time.Now()
			time.AfterFunc(time.Minute, func() { close(drain) })
			err := j.run(t.Context(), drain)
			if took := time.Since(began); transfer.CodeOf(err) != transfer.CodeDrained || took > 2*time.Minute {
				t.Errorf("ordered %t: got %v after %s, want code drained within 2m", ordered, err, took)
			}
		})
	}
}
