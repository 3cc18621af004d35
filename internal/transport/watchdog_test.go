package transport

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

var patience = Patience{Period: time.Minute, Bytes: 100, Answer: 2 * time.Minute}

// TestWatch ends a call when it has stood still for as long as it may, and no sooner.
func TestWatch(t *testing.T) {
	for name, tc := range map[string]struct {
		call func(w *Watch)
		ends time.Duration // after call; 0: never
	}{
		"no answer":                {func(*Watch) {}, 2 * time.Minute},
		"nothing after a byte":     {func(w *Watch) { w.Moved(1) }, time.Minute},
		"nothing after enough":     {func(w *Watch) { w.Moved(100) }, 2 * time.Minute},
		"no answer to a body":      {func(w *Watch) { w.Moved(100); time.Sleep(30 * time.Second); w.Moved(0) }, 2 * time.Minute},
		"a trickle":                {func(w *Watch) { trickle(w, 99) }, 10500 * time.Millisecond},
		"a trickle that is enough": {func(w *Watch) { trickle(w, 100) }, 70 * time.Second},
		"held":                     {func(w *Watch) { w.Moved(1); w.Hold() }, 0},
		"held for a while":         {func(w *Watch) { w.Moved(1); time.Sleep(50 * time.Second); hold(w, time.Hour) }, 10 * time.Second},
		"held twice":               {func(w *Watch) { w.Hold(); hold(w, time.Hour) }, 0},
		"held when it begins":      {func(w *Watch) { w.Hold(); time.Sleep(time.Hour); w.Moved(1); w.Release() }, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := NewWatch(t.Context(), patience)
				defer w.Stop()
				tc.call(w)
				if tc.ends == 0 {
					time.Sleep(24 * time.Hour)
					synctest.Wait()
					if w.Context().Err() != nil {
						t.Error("it has ended")
					}
					return
				}
				started := time.Now()
				<-w.Context().Done()
				if took := time.Since(started); took != tc.ends {
					t.Errorf("it has ended after %s, not %s", took, tc.ends)
				}
				if cause := context.Cause(w.Context()); transfer.CodeOf(cause) != transfer.CodeTimeout {
					t.Errorf("it has ended with %v", cause)
				}
			})
		})
	}
}

// trickle moves two bytes a second, n in all.
func trickle(w *Watch, n int) {
	for range n {
		w.Moved(1)
		time.Sleep(time.Second / 2)
	}
}

func hold(w *Watch, d time.Duration) {
	w.Hold()
	time.Sleep(d)
	w.Release()
}

// TestWatchEnds with its caller's context.
func TestWatchEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w := NewWatch(ctx, patience)
	defer w.Stop()
	cancel()
	<-w.Context().Done()
	if cause := context.Cause(w.Context()); transfer.CodeOf(cause) != transfer.CodeCanceled {
		t.Errorf("it has ended with %v", cause)
	}
}
