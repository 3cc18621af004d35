package main

import (
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/transferd/transferd/internal/queue"
)

// TestRunsFindJobsRunTwiceAtOnce: runs reports a job that starts on transferd b while a still runs
// it, unless a has logged the end of its attempt in time, has ended, or was cut off.
func TestRunsFindJobsRunTwiceAtOnce(t *testing.T) {
	for name, test := range map[string]struct {
		events func(r *runs, log func(daemon, message string))
		want   int // errors
	}{
		"released before": {func(_ *runs, log func(daemon, message string)) {
			log("a", queue.LogReleased)
			log("b", queue.LogStarted)
		}, 0},
		"ended a moment later": {func(_ *runs, log func(daemon, message string)) {
			log("b", queue.LogStarted)
			log("a", queue.LogEnded)
		}, 0},
		"released too late": {func(_ *runs, log func(daemon, message string)) {
			log("b", queue.LogStarted)
			time.Sleep(2 * logDelay)
			log("a", queue.LogReleased)
		}, 1},
		"never released": {func(_ *runs, log func(daemon, message string)) {
			log("b", queue.LogStarted)
		}, 1},
		"killed": {func(r *runs, log func(daemon, message string)) {
			r.exited("a")
			log("b", queue.LogStarted)
		}, 0},
		"cut off": {func(r *runs, log func(daemon, message string)) {
			r.cutOff("a")
			time.Sleep(leastHold + time.Second)
			log("b", queue.LogStarted)
			r.reconnected("a")
			log("a", queue.LogReleased)
		}, 0},
		"cut off, and still running": {func(r *runs, log func(daemon, message string)) {
			r.cutOff("a")
			time.Sleep(leastHold + time.Second)
			log("b", queue.LogStarted)
			r.reconnected("a")
			time.Sleep(2 * fenceTime)
			log("a", queue.LogReleased)
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := new(runs)
				log := func(daemon, message string) {
					_, _ = fmt.Fprintf(r.logOf(daemon, io.Discard), "{\"msg\":%q,\"job\":\"j\"}\n", message)
				}
				log("a", queue.LogStarted)
				test.events(r, log)
				if got := r.verdict(); len(got) != test.want {
					t.Errorf("got the errors %q, want %d", got, test.want)
				}
			})
		})
	}
}
