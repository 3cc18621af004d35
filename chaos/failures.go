package main

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"
)

// longRun is the shortest -time with which failures last longer than leases.
const longRun = time.Minute

// leaseTime is how long leases last.
const leaseTime = 15 * time.Second

// pauses returns the mean times between two failures of one part. In a long run transferds and
// Redis fail less often. After an unclean takeover a job waits for up to 20 s before it succeeds,
// and one that loses six workers in these waits fails as worker_lost; each restart of Redis delays
// takeovers from transferds that are cut off.
func (l *lab) pauses() (daemon, redis time.Duration) {
	if l.time >= longRun {
		return 20 * time.Second, 40 * time.Second
	}
	return 6 * time.Second, 10 * time.Second
}

// startFailures makes daemons, Redis and endpoints fail until over closes. Each failure ends with a
// restart.
func (l *lab) startFailures(failures *sync.WaitGroup, over <-chan struct{}) {
	daemonPause, redisPause := l.pauses()
	for i, d := range l.daemons {
		dice := l.dice(uint64(200 + i))
		failure := func() { l.failDaemon(d, dice) }
		if i == 0 && l.embedded() { // it has the queue
			failure = func() { defer l.runs.queueFails()(); l.failDaemon(d, dice) }
		}
		failures.Go(func() { repeatedly(over, dice, daemonPause, failure) })
	}
	if l.redis != nil {
		dice := l.dice(300)
		failures.Go(func() { repeatedly(over, dice, redisPause, func() { l.failRedis(dice) }) })
	}
	for i, e := range l.endpoints {
		dice := l.dice(uint64(400 + i))
		failures.Go(func() { repeatedly(over, dice, 10*time.Second, func() { l.failEndpoint(e, dice) }) })
	}
}

// failDaemon ends a transferd, stops it, or cuts it off.
func (l *lab) failDaemon(d *daemon, dice *rand.Rand) {
	switch n := dice.IntN(12); {
	case n < 5:
		l.outage(d.process, syscall.SIGKILL, dice, 3*time.Second)
	case n < 7:
		l.outage(d.process, syscall.SIGTERM, dice, 3*time.Second)
	case n < 9:
		l.cutOff(d, dice, "stopped", d.stop)
	case n < 10:
		l.cutOff(d, dice, "cut off from Redis", d.redis.cut)
	case n < 11:
		l.cutOff(d, dice, "cut off from endpoints", d.endpoints.cut)
	default:
		l.cutOff(d, dice, "cut off from both", func() (heal func()) {
			one, two := d.redis.cut(), d.endpoints.cut()
			return func() { two(); one() }
		})
	}
}

// cutOff cuts a transferd off, in a long run for longer than its leases last.
func (l *lab) cutOff(d *daemon, dice *rand.Rand, how string, cut func() (heal func())) {
	duration := atMost(dice, 4*time.Second)
	if l.time >= longRun {
		duration = leaseTime + 5*time.Second + atMost(dice, 10*time.Second)
	}
	l.count("transferd "+how, 1)
	l.logf("%s is %s for %s", d.name, how, duration)
	l.runs.cutOff(d.name)
	heal := cut()
	time.Sleep(duration)
	heal()
	l.logf("%s is no longer %s", d.name, how)
	l.runs.reconnected(d.name)
}

// failRedis kills Redis, restores it from an older copy, or makes it refuse commands.
func (l *lab) failRedis(dice *rand.Rand) {
	defer l.runs.queueFails()()
	switch n := dice.IntN(10); {
	case n < 2:
		l.restoreRedis(dice)
	case n < 3:
		l.refuse(dice, "is full",
			[]string{"config", "set", "maxmemory", "1"},
			[]string{"config", "set", "maxmemory", "0"})
	case n < 4:
		l.refuse(dice, "refuses writes",
			[]string{"acl", "setuser", "default", "-@write"},
			[]string{"acl", "setuser", "default", "+@all"})
	case n < 5:
		l.count("Redis away for longer than leases last", 1)
		l.outage(l.redis, syscall.SIGKILL, dice, 40*time.Second)
	default:
		l.outage(l.redis, syscall.SIGKILL, dice, 4*time.Second)
	}
}

func (l *lab) failEndpoint(e *endpoint, dice *rand.Rand) {
	l.count("endpoint away", 1)
	l.logf("endpoint %s is away", e.name())
	e.down()
	time.Sleep(atMost(dice, 3*time.Second))
	if err := e.up(); err != nil {
		l.errorf("endpoint %s: %v", e.name(), err)
	}
}

// repeatedly calls do at random intervals with the given mean, until over closes.
func repeatedly(over <-chan struct{}, dice *rand.Rand, mean time.Duration, do func()) {
	for {
		select {
		case <-over:
			return
		case <-time.After(atMost(dice, 2*mean)):
			do()
		}
	}
}

func atMost(dice *rand.Rand, d time.Duration) time.Duration {
	return time.Duration(dice.Int64N(int64(d)))
}

func signalName(s syscall.Signal) string {
	if s == syscall.SIGKILL {
		return "SIGKILL"
	}
	return "SIGTERM"
}

// outage ends a process and starts it again after up to most.
func (l *lab) outage(p *process, signal syscall.Signal, dice *rand.Rand, most time.Duration) {
	l.count(fmt.Sprintf("%s ended by %s", p.kind, signalName(signal)), 1)
	l.logf("%s gets %s", p.name, signalName(signal))
	p.end(signal)
	time.Sleep(atMost(dice, most))
	l.startAgain(p)
}

func (l *lab) startAgain(p *process) {
	for began := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		err := p.start()
		if err == nil {
			return
		}
		if time.Since(began) > 10*time.Second {
			l.errorf("%s does not start again: %v", p.name, err)
			return
		}
	}
}
