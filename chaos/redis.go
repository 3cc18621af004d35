package main

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// refuse makes Redis refuse commands for a random time. A restarted Redis refuses nothing.
func (l *lab) refuse(dice *rand.Rand, how string, begin, end []string) {
	most := 4 * time.Second
	if l.time >= longRun && dice.IntN(3) == 0 {
		most = 2 * leaseTime
	}
	l.count("Redis "+how, 1)
	l.logf("Redis %s", how)
	l.redisCommand(begin)
	time.Sleep(atMost(dice, most))
	l.redisCommand(end)
	l.logf("Redis refuses nothing")
}

func (l *lab) redisCommand(args []string) {
	out, err := exec.Command("redis-cli", append([]string{"-s", l.socket}, args...)...).CombinedOutput()
	if err != nil || string(out) != "OK\n" {
		l.errorf("redis-cli %q: %v %s", args, err, out)
	}
}

// restoreRedis kills Redis and copies its files, runs it for some seconds more, and then restores
// the copy.
func (l *lab) restoreRedis(dice *rand.Rand) {
	stored, older := l.path("appendonlydir"), l.path("older")
	l.count("Redis restored from an older copy", 1)
	l.logf("Redis is copied")
	lost := span{from: time.Now()}
	l.redis.end(syscall.SIGKILL)
	if err := os.CopyFS(older, os.DirFS(stored)); err != nil {
		l.errorf("copy of Redis: %v", err)
	}
	l.startAgain(l.redis)
	time.Sleep(time.Second + atMost(dice, 5*time.Second))
	l.redis.end(syscall.SIGKILL)
	if err := os.RemoveAll(stored); err != nil {
		l.errorf("%v", err)
	}
	if err := os.Rename(older, stored); err != nil {
		l.errorf("%v", err)
	}
	lost.to = time.Now()
	l.history.lose(lost)
	l.logf("Redis has lost the last %s", lost.to.Sub(lost.from))
	l.startAgain(l.redis)
}
