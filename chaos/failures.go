package main

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"
)

// longForm is the shortest run in which failures last longer than leases.
const longForm = time.Minute

// leaseTime is how long leases last.
const leaseTime = 15 * time.Second

// pauses are the mean times between two failures of one part. In the long form Redis fails so
// seldom that transferds take jobs from those that are cut off: each restart of Redis puts that off.
func (l *lab) pauses() (daemon, redis time.Duration) {
	if l.time >= longForm {
		return 10 * time.Second, 40 * time.Second
	}
	return 6 * time.Second, 10 * time.Second
}

// unleash has daemons, Redis and endpoints fail until over, and then brings back what is away.
func (l *lab) unleash(killers *sync.WaitGroup, over <-chan struct{}) {
	daemonPause, redisPause := l.pauses()
	for i, d := range l.daemons {
		dice := l.dice(uint64(200 + i))
		trouble := func() { l.troubleDaemon(d, dice) }
		if i == 0 && l.embedded() { // it has the queue
			trouble = func() { defer l.runs.queueFails()(); l.troubleDaemon(d, dice) }
		}
		killers.Go(func() { repeatedly(over, dice, daemonPause, trouble) })
	}
	if l.redis != nil {
		dice := l.dice(300)
		killers.Go(func() { repeatedly(over, dice, redisPause, func() { l.troubleRedis(dice) }) })
	}
	for i, e := range l.endpoints {
		dice := l.dice(uint64(400 + i))
		killers.Go(func() { repeatedly(over, dice, 10*time.Second, func() { l.troubleEndpoint(e, dice) }) })
	}
}

// troubleDaemon ends a transferd, stops it, or cuts it off.
func (l *lab) troubleDaemon(d *daemon, dice *rand.Rand) {
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

// cutOff cuts a transferd off in one way, in the long form for longer than its leases last.
func (l *lab) cutOff(d *daemon, dice *rand.Rand, how string, cut func() (heal func())) {
	duration := atMost(dice, 4*time.Second)
	if l.time >= longForm {
		duration = leaseTime + 5*time.Second + atMost(dice, 10*time.Second)
	}
	l.happened("transferd "+how, 1)
	l.tell("%s is %s for %s", d.name, how, duration)
	l.runs.cutOff(d.name)
	heal := cut()
	time.Sleep(duration)
	heal()
	l.tell("%s is no longer %s", d.name, how)
	l.runs.back(d.name)
}

// troubleRedis kills Redis, restores it from an older copy, or has it refuse.
func (l *lab) troubleRedis(dice *rand.Rand) {
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
		l.happened("Redis away for longer than leases last", 1)
		l.outage(l.redis, syscall.SIGKILL, dice, 40*time.Second)
	default:
		l.outage(l.redis, syscall.SIGKILL, dice, 4*time.Second)
	}
}

func (l *lab) troubleEndpoint(e *endpoint, dice *rand.Rand) {
	l.happened("endpoint away", 1)
	l.tell("endpoint %s is away", e.name())
	e.down()
	time.Sleep(atMost(dice, 3*time.Second))
	if err := e.up(); err != nil {
		l.wrong("endpoint %s: %v", e.name(), err)
	}
}

// repeatedly does something at random times, mean apart, until over.
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

// outage ends a process and starts it again after a while.
func (l *lab) outage(p *process, signal syscall.Signal, dice *rand.Rand, most time.Duration) {
	l.happened(fmt.Sprintf("%s ended by %s", p.kind, signalName(signal)), 1)
	l.tell("%s gets %s", p.name, signalName(signal))
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
			l.wrong("%s does not start again: %v", p.name, err)
			return
		}
	}
}
