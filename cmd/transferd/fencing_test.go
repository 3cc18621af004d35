package main

import (
	"bytes"
	"net/http"
	"syscall"
	"testing"
	"time"

	"golang.org/x/time/rate"
)

const (
	testLease = 3 * time.Second
	imageSize = 24 << 20
)

// slowly has a chunk of 4 MiB take seconds, so that several are under way at any time.
func slowly() *rate.Limiter { return rate.NewLimiter(4<<20, relayed) }

// lost is a transferd that is cut off from its job in the middle of an upload. Another takes the
// job over, finishes it, and then runs a second one, which writes the same drive.
type lost struct {
	*host
	victim *transferd
	second []byte // what the drive must hold in the end
	drive  string
}

// lose begins an upload on one transferd, calls cut when it has sent a few chunks, and runs the
// rest on another.
func lose(t *testing.T, cut func(*lost)) *lost {
	t.Helper()
	h := newHost(t)
	first, _ := h.image("first.img")
	path, second := h.image("second.img")
	l := &lost{host: h, second: second}
	l.victim = h.start("victim", testLease, slowly())
	id := h.upload(first, "")
	<-l.victim.endpoint.under
	cut(l)
	h.start("other", testLease, nil)
	job := h.await(id)
	if job.Attempts != 2 {
		t.Errorf("the first job took %d attempts, want 2", job.Attempts)
	}
	l.drive = job.Drive
	h.await(h.upload(path, l.drive))
	return l
}

// intact ends the victim, when it is back, and checks that the drive is as the second job left it.
func (l *lost) intact(before int) {
	l.t.Helper()
	l.victim.end()
	if n := l.written(l.victim.endpoint.address()) - before; n > 0 {
		l.t.Errorf("the lost worker began %d writes when another had finished its job", n)
	}
	if got := l.host.drive(l.drive); !bytes.Equal(got, l.second) {
		differ := 0
		for i := range got {
			if got[i] != l.second[i] {
				differ++
			}
		}
		l.t.Errorf("%d bytes of a finished drive were overwritten", differ)
	}
}

// back waits until Redis lists the victim as a worker.
func (l *lost) back() {
	l.t.Helper()
	for began := time.Now(); ; {
		workers, err := l.queue.Workers(l.t.Context())
		if err != nil {
			l.t.Fatal(err)
		}
		if len(workers) == 2 {
			return
		}
		if time.Since(began) > 30*time.Second {
			l.t.Fatal("the lost worker does not come back")
		}
	}
}

// TestStoppedWorkerWritesNothing stops a transferd in the middle of an upload for longer than its
// lease lasts.
func TestStoppedWorkerWritesNothing(t *testing.T) {
	t.Parallel()
	l := lose(t, func(l *lost) { l.victim.signal(syscall.SIGSTOP) })
	before := l.written(l.victim.endpoint.address())
	l.victim.signal(syscall.SIGCONT)
	l.back()
	l.intact(before)
}

// TestPartitionedWorkerWritesNothing cuts a transferd off from Redis and the endpoint for 22/15 of
// a lease, so that what the network held back arrives while another has the job.
func TestPartitionedWorkerWritesNothing(t *testing.T) {
	t.Parallel()
	l := lose(t, func(l *lost) {
		l.victim.redis.gate.Lock()
		l.victim.endpoint.gate.Lock()
		time.AfterFunc(testLease*22/15, func() {
			l.victim.endpoint.gate.Unlock()
			l.victim.redis.gate.Unlock()
		})
	})
	before := l.written(l.victim.endpoint.address())
	l.back()
	l.intact(before)
}

// TestWorkerWithoutRedisWritesNothing cuts a transferd off from Redis alone. At first the endpoint
// answers 504 to it; later it answers well, while Redis is still away.
func TestWorkerWithoutRedisWritesNothing(t *testing.T) {
	t.Parallel()
	l := lose(t, func(l *lost) {
		l.victim.redis.gate.Lock()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.answer = func(address string) int {
			if address == l.victim.endpoint.address() {
				return http.StatusGatewayTimeout
			}
			return 0
		}
	})
	l.mu.Lock()
	l.answer = nil
	l.mu.Unlock()
	before := l.written(l.victim.endpoint.address())
	l.await(l.upload(l.dir+"/second.img", l.drive)) // for as long as this takes
	l.victim.redis.gate.Unlock()
	l.back()
	l.intact(before)
}

// TestKilledWorkerDelaysNothing kills a transferd in the middle of an upload. Another that shares
// its state folder finds it ended, and waits for its lease to lapse, but no longer.
func TestKilledWorkerDelaysNothing(t *testing.T) {
	t.Parallel()
	const lease = 2 * testLease
	h := newHost(t)
	path, content := h.image("image.img")
	victim := h.start("state", lease, slowly())
	id := h.upload(path, "")
	<-victim.endpoint.under
	victim.signal(syscall.SIGKILL)
	killed := time.Now()
	h.start("state", lease, nil)
	job := h.await(id)
	if took, least := job.FinishedAt.Sub(killed), 2*lease-lease/15; took > least {
		t.Errorf("the job ended %s after its worker was killed, want less than %s, "+
			"after which it would have waited for late bytes", took, least)
	}
	if got := h.drive(job.Drive); job.Attempts != 2 || !bytes.Equal(got, content) {
		t.Errorf("after %d attempts the drive is equal: %v", job.Attempts, bytes.Equal(got, content))
	}
}
