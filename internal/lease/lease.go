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

// ErrLapsed is in the chain of errors of calls that were not made, or cut, for want of a proof. The
// worker may still have the job: the next renewal tells.
var ErrLapsed = transfer.Errorf(transfer.CodeFenced, "", "it is not proven that the job is still this worker's")

// Clock is the time since some fixed moment.
type Clock func() time.Duration

// Boottime is the time since the host was started, during which it may have been suspended
// (CLOCK_BOOTTIME, clock_gettime(2)). A call takes 0.4 µs.
func Boottime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return math.MaxInt64 // every lease has lapsed by then; Linux has had this clock since 2.6.39
	}
	return time.Duration(t.Nano())
}

// Holder is a transfer.Store whose job another process may take when it is silent for too long.
// Each save renews the lease.
type Holder interface {
	// Lease is the attempt's hold on the job. It is always the same one.
	Lease() *Lease
}

// Lease is one attempt's hold on a job. It is safe for concurrent use. A nil Lease always holds: it
// is that of a job which no other process can take, for a lock of the kernel keeps it.
type Lease struct {
	clock  Clock
	proves time.Duration // how long a renewal proves, from when it was sent
	until  atomic.Int64  // when the proof lapses, by clock

	mu      sync.Mutex
	renewed chan struct{} // closed and replaced with each renewal
	late    time.Duration // by clock: until when bytes of a lost worker may arrive; 0: there are none
}

// New makes a lease that nothing proves yet. lasts is how long the queue grants it with each
// renewal.
func New(clock Clock, lasts time.Duration) *Lease {
	return &Lease{clock: clock, proves: lasts / 3 * 2, renewed: make(chan struct{})}
}

// Now is the reading of the clock that Renewed wants. It is taken before the renewal is sent.
func (l *Lease) Now() time.Duration { return l.clock() }

// Renewed notes that the queue granted a renewal that was sent at the given time.
func (l *Lease) Renewed(sent time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until.Store(max(l.until.Load(), int64(sent+l.proves)))
	close(l.renewed)
	l.renewed = make(chan struct{})
}

// left is how long the proof holds still; not positive: it has lapsed.
func (l *Lease) left() time.Duration { return time.Duration(l.until.Load()) - l.clock() }

// Check fails with ErrLapsed unless the last renewal proves that the job is this worker's.
func (l *Lease) Check() error {
	if l == nil || l.left() > 0 {
		return nil
	}
	return ErrLapsed
}

// Await waits until the proof holds. It ends with ctx's error when ctx does.
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

// Renewal is closed at the next renewal; nil, which never is, of a nil Lease.
func (l *Lease) Renewal() <-chan struct{} {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.renewed
}

// Bind is ctx for a call that must not outlive the proof: it is canceled, with ErrLapsed as its
// cause, when the proof lapses. release has to be called when the call is over.
func (l *Lease) Bind(ctx context.Context) (bound context.Context, release context.CancelFunc) {
	if l == nil {
		return ctx, func() {}
	}
	b := &binding{lease: l}
	bound, b.cancel = context.WithCancelCause(ctx)
	b.mu.Lock() // look reads timer
	defer b.mu.Unlock()
	b.timer = time.AfterFunc(l.left(), panics.Func(b.look, func(err error) { b.cancel(err) }))
	return bound, b.release
}

// binding ends one call when the proof lapses. Renewals only move that on, so it does not follow
// them: when its timer fires it looks again.
type binding struct {
	lease  *Lease
	cancel context.CancelCauseFunc

	mu       sync.Mutex
	timer    *time.Timer
	released bool
}

func (b *binding) look() {
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

// TookOver notes that the job was taken from a worker that did not hand it over, or that the queue
// may not know all that had it: bytes that they sent may arrive for the given time from now on.
func (l *Lease) TookOver(late time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.late = max(l.late, l.clock()+late)
}

// Late is for how long bytes of a lost worker may still arrive, which may be over. unclean is false
// if there are none to expect: then nothing has to be read back for their sake.
func (l *Lease) Late() (left time.Duration, unclean bool) {
	if l == nil {
		return 0, false
	}
	l.mu.Lock()
	late := l.late
	l.mu.Unlock()
	return max(0, late-l.clock()), late != 0
}
