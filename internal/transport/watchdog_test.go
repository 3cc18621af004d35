package transport

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

var patience = Patience{Period: time.Minute, Bytes: 100, Answer: 2 * time.Minute}

// TestWatchEndsAfterItsTimeout ends a call when it has stood still for as long as it may, and no sooner.
func TestWatchEndsAfterItsTimeout(t *testing.T) {
	for name, tc := range map[string]struct {
		call func(w *watch)
		ends time.Duration // after call; 0: never
	}{
		"no answer":                {func(*watch) {}, 2 * time.Minute},
		"nothing after a byte":     {func(w *watch) { w.moved(1) }, time.Minute},
		"nothing after enough":     {func(w *watch) { w.moved(100) }, 2 * time.Minute},
		"no answer to a body":      {func(w *watch) { w.moved(100); time.Sleep(30 * time.Second); w.moved(0) }, 2 * time.Minute},
		"a trickle":                {func(w *watch) { trickle(w, 99) }, 10500 * time.Millisecond},
		"a trickle that is enough": {func(w *watch) { trickle(w, 100) }, 70 * time.Second},
		"held":                     {func(w *watch) { w.moved(1); w.hold() }, 0},
		"held for a while":         {func(w *watch) { w.moved(1); time.Sleep(50 * time.Second); hold(w, time.Hour) }, 10 * time.Second},
		"held twice":               {func(w *watch) { w.hold(); hold(w, time.Hour) }, 0},
		"held when it begins":      {func(w *watch) { w.hold(); time.Sleep(time.Hour); w.moved(1); w.release() }, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWatch(t.Context(), patience)
				defer w.stop()
				tc.call(w)
				if tc.ends == 0 {
					time.Sleep(24 * time.Hour)
					synctest.Wait()
					if w.ctx.Err() != nil {
						t.Error("it has ended")
					}
					return
				}
				started := time.Now()
				<-w.ctx.Done()
				if took := time.Since(started); took != tc.ends {
					t.Errorf("it has ended after %s, not %s", took, tc.ends)
				}
				if cause := context.Cause(w.ctx); transfer.CodeOf(cause) != transfer.CodeTimeout {
					t.Errorf("it has ended with %v", cause)
				}
			})
		})
	}
}

// trickle moves two bytes a second, n in all.
func trickle(w *watch, n int) {
	for range n {
		w.moved(1)
		time.Sleep(time.Second / 2)
	}
}

func hold(w *watch, d time.Duration) {
	w.hold()
	time.Sleep(d)
	w.release()
}

// TestWatchEndsWithItsContext with its caller's context.
func TestWatchEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w := newWatch(ctx, patience)
	defer w.stop()
	cancel()
	<-w.ctx.Done()
	if cause := context.Cause(w.ctx); transfer.CodeOf(cause) != transfer.CodeCanceled {
		t.Errorf("it has ended with %v", cause)
	}
}

// TestStoppedWatchSetsNoTimer sets no timer any more for a body that is still read.
func TestStoppedWatchSetsNoTimer(t *testing.T) {
	w := newWatch(t.Context(), patience)
	w.stop()
	w.hold()
	w.release()
	w.moved(1)
	if w.timer.Stop() {
		t.Error("the timer is set")
	}
}
