package transfertest

import (
	"testing"
	"time"
)

// patience is the longest wait of a test, and pollEvery is how often Until calls done.
const (
	patience  = time.Minute
	pollEvery = 5 * time.Millisecond
)

// Receive is the next value of a channel; the zero value if it is closed. It fails the test if none
// arrives within a minute; what names the value in the message. The test's goroutine calls it.
func Receive[T any](t testing.TB, c <-chan T, what string) (value T) {
	t.Helper()
	select {
	case value = <-c:
	case <-time.After(patience):
		t.Fatalf("got no %s within %s", what, patience)
	}
	return value
}

// Until calls done until it returns true. It fails the test if that takes longer than a minute;
// what names the condition in the message. The test's goroutine calls it.
func Until(t testing.TB, what string, done func() bool) {
	t.Helper()
	retry := time.NewTicker(pollEvery)
	defer retry.Stop()
	for began := time.Now(); !done(); <-retry.C {
		if time.Since(began) > patience {
			t.Fatalf("not reached within %s: %s", patience, what)
		}
	}
}
