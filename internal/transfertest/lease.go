package transfertest

import (
	"sync/atomic"
	"time"

	"github.com/transferd/transferd/internal/lease"
)

// Lease is a lease that has just been renewed, and a function that advances its clock. The proof
// lapses after 10 s. Both are safe for concurrent use.
func Lease() (l *lease.Lease, advance func(d time.Duration)) {
	var now atomic.Int64
	l = lease.New(func() time.Duration { return time.Duration(now.Load()) }, 15*time.Second)
	l.Renewed(0)
	return l, func(d time.Duration) { now.Add(int64(d)) }
}
