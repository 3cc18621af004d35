package transport

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

var timeouts = Timeouts{Period: time.Minute, Bytes: 100, Response: 2 * time.Minute}

// TestWatchEndsAfterItsTimeout: a call ends when it has stalled for its timeout, and no sooner.
func TestWatchEndsAfterItsTimeout(t *testing.T) {
	for name, tc := range map[string]struct {
		call func(w *watch)
		ends time.Duration // after call; 0: never
	}{
		"no response":          {func(*watch) {}, 2 * time.Minute},
		"nothing after a byte": {func(w *watch) { w.progress(1) }, time.Minute},
		"nothing after enough": {func(w *watch) { w.progress(100) }, 2 * time.Minute},
		"no response to a body": {
			func(w *watch) { w.progress(100); time.Sleep(30 * time.Second); w.progress(0) }, 2 * time.Minute,
		},
		"a trickle":                {func(w *watch) { trickle(w, 99) }, 10500 * time.Millisecond},
		"a trickle that is enough": {func(w *watch) { trickle(w, 100) }, 70 * time.Second},
		"held":                     {func(w *watch) { w.progress(1); w.hold() }, 0},
		"held for a while": {
			func(w *watch) { w.progress(1); time.Sleep(50 * time.Second); hold(w, time.Hour) }, 10 * time.Second,
		},
		"held twice": {func(w *watch) { w.hold(); hold(w, time.Hour) }, 0},
		"held when it begins": {
			func(w *watch) { w.hold(); time.Sleep(time.Hour); w.progress(1); w.release() }, time.Minute,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWatch(t.Context(), timeouts)
				defer w.stop()
				tc.call(w)
				if tc.ends == 0 {
					time.Sleep(24 * time.Hour)
					synctest.Wait()
					if w.ctx.Err() != nil {
						t.Errorf("got an end with %v, want none", context.Cause(w.ctx))
					}
					return
				}
				started := time.Now()
				<-w.ctx.Done()
				if elapsed := time.Since(started); elapsed != tc.ends {
					t.Errorf("got an end after %s, want %s", elapsed, tc.ends)
				}
				if cause := context.Cause(w.ctx); transfer.CodeOf(cause) != transfer.CodeTimeout {
					t.Errorf("got %v, want %s", cause, transfer.CodeTimeout)
				}
			})
		})
	}
}

// trickle transfers two bytes a second, n in all.
func trickle(w *watch, n int) {
	for range n {
		w.progress(1)
		time.Sleep(time.Second / 2)
	}
}

func hold(w *watch, d time.Duration) {
	w.hold()
	time.Sleep(d)
	w.release()
}

// TestWatchEndsWithItsContext: a watch ends with its caller's context.
func TestWatchEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w := newWatch(ctx, timeouts)
	defer w.stop()
	cancel()
	<-w.ctx.Done()
	if cause := context.Cause(w.ctx); transfer.CodeOf(cause) != transfer.CodeCanceled {
		t.Errorf("got %v, want %s", cause, transfer.CodeCanceled)
	}
}

// TestStoppedWatchSetsNoTimer: a Read after stop sets no timer.
func TestStoppedWatchSetsNoTimer(t *testing.T) {
	w := newWatch(t.Context(), timeouts)
	w.stop()
	w.hold()
	w.release()
	w.progress(1)
	if w.timer.Stop() {
		t.Error("the timer is set after stop")
	}
}
