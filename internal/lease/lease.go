package lease

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/transfer"
)

// ErrLapsed is in the chain of errors of calls that were not made, or were canceled, because the
// proof had lapsed. The worker may still have the job; the next renewal shows it.
var ErrLapsed = transfer.Errorf(transfer.CodeFenced, "", "it is not proven that the job is still this worker's")

// Clock returns the time since some fixed moment.
type Clock func() time.Duration

// Boottime is the time since the host was started, during which it may have been suspended
// (CLOCK_BOOTTIME, clock_gettime(2)). A call takes 0.4 µs.
func Boottime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return math.MaxInt64 // so that every lease has lapsed; Linux has had this clock since 2.6.39
	}
	return time.Duration(t.Nano())
}

// Holder is a transfer.Store with a lease on its job: another process may take the job when the
// lease has lapsed. Each save renews the lease.
type Holder interface {
	// Lease is the attempt's hold on the job. It is always the same one.
	Lease() *Lease
}

// Lease is one attempt's hold on a job. It is safe for concurrent use. A nil Lease always holds. It
// stands for a job that no other process can take, because a lock of the kernel protects it.
type Lease struct {
	clock     Clock
	proofTime time.Duration // how long the proof of a renewal lasts, from when it was sent
	until     atomic.Int64  // when the proof lapses, by clock

	mu      sync.Mutex
	renewed chan struct{} // closed and replaced with each renewal
	late    time.Duration // by clock: until when bytes of a lost worker may arrive; 0: no worker was lost
	// unsettled says that bytes of lost workers may have arrived since the target was last read.
	unsettled bool
}

// New makes a lease without a proof. lasts is how long the lease of each renewal lasts, by the
// queue's clock.
func New(clock Clock, lasts time.Duration) *Lease {
	return &Lease{clock: clock, proofTime: lasts / 3 * 2, renewed: make(chan struct{})}
}

// Now reads the lease's clock. Call it before the renewal is sent, and pass the result to Renewed.
func (l *Lease) Now() time.Duration { return l.clock() }

// Renewed records that the queue granted a renewal, which was sent at the given time.
func (l *Lease) Renewed(sent time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until.Store(max(l.until.Load(), int64(sent+l.proofTime)))
	close(l.renewed)
	l.renewed = make(chan struct{})
}

// left is how long the proof still holds; 0 or negative: it has lapsed.
func (l *Lease) left() time.Duration { return time.Duration(l.until.Load()) - l.clock() }

// Check fails with ErrLapsed unless the last renewal proves that the job is this worker's.
func (l *Lease) Check() error {
	if l == nil || l.left() > 0 {
		return nil
	}
	return ErrLapsed
}

// Await waits until the proof holds. If ctx ends, it returns ctx's error.
func (l *Lease) Await(ctx context.Context) error {
	for {
		renewed := l.Renewal()
		if l.Check() == nil {
			return ctx.Err()
		}
		select {
		case <-renewed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Renewal returns a channel that is closed at the next renewal; for a nil Lease it is nil.
func (l *Lease) Renewal() <-chan struct{} {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.renewed
}

// Bind derives a context for a call that must not outlive the proof: it is canceled, with ErrLapsed
// as its cause, when the proof lapses. The caller calls release when the call has ended.
func (l *Lease) Bind(ctx context.Context) (bound context.Context, release context.CancelFunc) {
	if l == nil {
		return ctx, func() {}
	}
	b := &binding{lease: l}
	bound, b.cancel = context.WithCancelCause(ctx)
	b.mu.Lock() // check reads timer
	defer b.mu.Unlock()
	b.timer = time.AfterFunc(l.left(), panics.Func(b.check, func(err error) { b.cancel(err) }))
	return bound, b.release
}

// binding cancels one call when the proof lapses. A renewal only extends the proof, so binding
// ignores renewals and checks the proof again when its timer fires.
type binding struct {
	lease  *Lease
	cancel context.CancelCauseFunc

	mu       sync.Mutex
	timer    *time.Timer
	released bool
}

func (b *binding) check() {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch left := b.lease.left(); {
	case b.released:
	case left > 0:
		b.timer.Reset(left)
	default:
		b.cancel(ErrLapsed)
	}
}

func (b *binding) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.released = true
	b.timer.Stop()
	b.cancel(nil)
}

// Cut reports whether a call with a bound context failed because the proof lapsed.
func Cut(bound context.Context, err error) bool {
	return err != nil && (errors.Is(context.Cause(bound), ErrLapsed) || errors.Is(err, ErrLapsed))
}

// TookOver records that bytes of other workers may arrive for the given time from now. Either the
// previous worker did not release the job, or the queue may have lost the records of later workers.
func (l *Lease) TookOver(late time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.late, l.unsettled = max(l.late, l.clock()+late), true
}

// Late returns for how long bytes of a lost worker may still arrive; 0: that time has passed.
// unclean is false if no worker was lost: then nothing needs to be read back.
func (l *Lease) Late() (left time.Duration, unclean bool) {
	if l == nil {
		return 0, false
	}
	l.mu.Lock()
	late := l.late
	l.mu.Unlock()
	return max(0, late-l.clock()), late != 0
}

// Settle is Late for a caller that reads back everything stored once the time has passed: from then
// on the job is settled, until TookOver is called again.
func (l *Lease) Settle() (left time.Duration) {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	left = max(0, l.late-l.clock())
	l.unsettled = l.unsettled && left > 0
	return left
}

// Settled reports whether bytes of lost workers, if there are any, had arrived before the target
// was last read.
func (l *Lease) Settled() bool {
	if l == nil {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.unsettled
}
