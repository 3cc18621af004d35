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

// slowLink is a rate at which a chunk of 4 MiB takes a second, so that several are in flight at any
// time.
func slowLink() *rate.Limiter { return rate.NewLimiter(4<<20, relayStep) }

// takeover is a transferd that loses its job in the middle of an upload. Another takes the job
// over, finishes it, and then runs a second one, which writes the same drive.
type takeover struct {
	*host
	victim *transferd
	second []byte // the content of the drive in the end
	drive  string
}

// takeOver starts an upload on one transferd, calls cutOff when that has sent a few MiB, and waits
// until another transferd has finished this job and a second one.
func takeOver(t *testing.T, cutOff func(*takeover)) *takeover {
	t.Helper()
	h := newHost(t)
	first, _ := h.image("first.img")
	path, second := h.image("second.img")
	l := &takeover{host: h, second: second}
	l.victim = h.start("victim", testLease, slowLink())
	id := h.upload(first, "")
	l.victim.endpoint.awaitSome(t)
	cutOff(l)
	h.start("other", testLease, nil)
	job := h.await(id)
	if job.Attempts != 2 {
		t.Errorf("got %d attempts of the first job, want 2", job.Attempts)
	}
	l.drive = job.Drive
	h.await(h.upload(path, l.drive))
	return l
}

// checkDrive ends the victim, and checks that it began no write after it had begun those before,
// and that the drive is as the second job left it.
func (l *takeover) checkDrive(before int) {
	l.t.Helper()
	l.victim.end()
	if n := l.written(l.victim.endpoint.address()) - before; n > 0 {
		l.t.Errorf("got %d writes that the victim began after another had finished its job, want none", n)
	}
	if got := l.host.drive(l.drive); !bytes.Equal(got, l.second) {
		different := 0
		for i := range got {
			if got[i] != l.second[i] {
				different++
			}
		}
		l.t.Errorf("got %d bytes of a finished drive overwritten, want none", different)
	}
}

// awaitVictim waits until Redis lists the victim as a worker.
func (l *takeover) awaitVictim() {
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
			l.t.Fatalf("got %d workers after 30 s, want 2: the victim is missing", len(workers))
		}
	}
}

// TestStoppedWorkerWritesNothing stops a transferd (SIGSTOP) in the middle of an upload for longer
// than its lease.
func TestStoppedWorkerWritesNothing(t *testing.T) {
	t.Parallel()
	l := takeOver(t, func(l *takeover) { l.victim.signal(syscall.SIGSTOP) })
	before := l.written(l.victim.endpoint.address())
	l.victim.signal(syscall.SIGCONT)
	l.awaitVictim()
	l.checkDrive(before)
}

// TestPartitionedWorkerWritesNothing cuts a transferd off from Redis and the endpoint for 22/15 of
// a lease, so that the bytes that the network held back arrive while another has the job.
func TestPartitionedWorkerWritesNothing(t *testing.T) {
	t.Parallel()
	l := takeOver(t, func(l *takeover) {
		l.victim.redis.gate.Lock()
		l.victim.endpoint.gate.Lock()
		time.AfterFunc(testLease*22/15, func() {
			l.victim.endpoint.gate.Unlock()
			l.victim.redis.gate.Unlock()
		})
	})
	before := l.written(l.victim.endpoint.address())
	l.awaitVictim()
	l.checkDrive(before)
}

// TestWorkerWithoutRedisWritesNothing cuts a transferd off from Redis alone. At first the endpoint
// answers 504 to it; later it answers well, while Redis is still away.
func TestWorkerWithoutRedisWritesNothing(t *testing.T) {
	t.Parallel()
	l := takeOver(t, func(l *takeover) {
		l.victim.redis.gate.Lock()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.injected = func(address string) int {
			if address == l.victim.endpoint.address() {
				return http.StatusGatewayTimeout
			}
			return 0
		}
	})
	l.mu.Lock()
	l.injected = nil
	l.mu.Unlock()
	before := l.written(l.victim.endpoint.address())
	l.await(l.upload(l.dir+"/second.img", l.drive)) // Redis stays away meanwhile
	l.victim.redis.gate.Unlock()
	l.awaitVictim()
	l.checkDrive(before)
}

// TestKilledWorkerDelaysNothing kills a transferd in the middle of an upload. Another that shares
// its state folder sees that it has ended, and waits only until its lease has expired.
func TestKilledWorkerDelaysNothing(t *testing.T) {
	t.Parallel()
	const lease = 2 * testLease
	h := newHost(t)
	path, content := h.image("image.img")
	victim := h.start("state", lease, slowLink())
	id := h.upload(path, "")
	victim.endpoint.awaitSome(t)
	victim.signal(syscall.SIGKILL)
	killed := time.Now()
	h.start("state", lease, nil)
	job := h.await(id)
	if took, most := job.FinishedAt.Sub(killed), 2*lease-lease/15; took > most {
		t.Errorf("got the end of the job after %s, want it before %s: it waited for late bytes", took, most)
	}
	if got := h.drive(job.Drive); job.Attempts != 2 || !bytes.Equal(got, content) {
		t.Errorf("got %d attempts, drive equal: %v; want 2, true", job.Attempts, bytes.Equal(got, content))
	}
}
