package lease_test

import (
	"fmt"
	"time"

	"github.com/transferd/transferd/internal/lease"
)

// A worker proves its right to write by renewals. The proof lasts two thirds of the lease, from
// when the renewal was sent.
func ExampleLease_Check() {
	var now time.Duration // a clock that the example moves
	l := lease.New(func() time.Duration { return now }, 15*time.Second)
	fmt.Println("before the first renewal:", l.Check() == nil)

	sent := l.Now()
	now += 2 * time.Second // the queue answers
	l.Renewed(sent)
	fmt.Println("after the answer:", l.Check() == nil)

	now = 10*time.Second - 1
	fmt.Println("just before 10 s:", l.Check() == nil)
	now = 10 * time.Second
	fmt.Println("at 10 s:", l.Check() == nil)
	// Output:
	// before the first renewal: false
	// after the answer: true
	// just before 10 s: true
	// at 10 s: false
}

// A renewal extends the proof. The answer to an older renewal does not shorten it.
func ExampleLease_Renewed() {
	var now time.Duration
	l := lease.New(func() time.Duration { return now }, 15*time.Second)
	first := l.Now()
	now = 6 * time.Second
	l.Renewed(l.Now())
	l.Renewed(first)

	now = 15 * time.Second
	fmt.Println(l.Check())
	now = 16 * time.Second
	fmt.Println(l.Check())
	// Output:
	// <nil>
	// it is not proven that the job is still this worker's
}

// The worker that takes a job over waits until nothing that the lost worker sent can arrive.
func ExampleLease_Late() {
	var now time.Duration
	l := lease.New(func() time.Duration { return now }, 15*time.Second)
	l.TookOver(20 * time.Second)
	now = 5 * time.Second
	fmt.Println(l.Late())
	now = 20 * time.Second
	fmt.Println(l.Late())
	// Output:
	// 15s true
	// 0s true
}
