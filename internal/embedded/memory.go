package embedded

import (
	"context"
	"crypto/sha1" //nolint:gosec // Redis names scripts by it
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/fsx"
	"github.com/transferd/transferd/internal/panics"
)

// Schema describes the keys of a server in this process.
type Schema interface {
	// Durable reports whether a key must survive a restart. The others do not.
	Durable(key string) bool
	// Scripts returns the sources of the scripts that change durable keys. Their effect must depend
	// only on their arguments, the durable keys and the lease. They must not add members to durable
	// sets or remove any: the journal keeps such commands only if a client sends them.
	Scripts() []string
	// Lease returns the key with a time to live on which the effect of a script over keys depends;
	// empty: there is none.
	Lease(keys []string) string
}

// memory is a Redis in this process. It writes each change of a durable key to its journal, synced,
// before it acknowledges the change, and replays the journal at the next start.
type memory struct {
	schema   Schema
	scripts  map[string]string // the schema's scripts by their SHA-1
	redis    *miniredis.Miniredis
	server   *server.Server // of redis, which drops it before the last command ends
	listener net.Listener
	path     string // of the journal
	journal  *journal
	least    int64 // a smaller journal, in bytes, is not rewritten
	log      *zap.Logger
	stopped  chan struct{}
	waits    []func()   // wait for accept and advanceTime
	mu       sync.Mutex // keeps the journal in the order of execution
	// executing is the client of the durable command that hook executes.
	executing atomic.Pointer[server.Peer]
}

func startMemory(journalPath, socket string, cfg *Config) (engine, error) {
	m := &memory{
		schema: cfg.Schema, scripts: make(map[string]string), redis: miniredis.NewMiniRedis(),
		path: journalPath, least: journalLeast, log: cfg.Log,
	}
	for _, source := range cfg.Schema.Scripts() {
		m.scripts[hash(source)] = source
	}
	if err := m.replay(); err != nil {
		m.redis.Close()
		return nil, fmt.Errorf("replay the queue's journal: %w", err)
	}
	m.server = m.redis.Server()
	m.server.SetPreHook(m.hook)
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errors.Join(err, m.stop())
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen for the queue: %w", err), m.stop())
	}
	m.listener, m.stopped = l, make(chan struct{})
	m.waits = []func(){panics.Go(m.accept, cfg.Failed), panics.Go(m.advanceTime, cfg.Failed)}
	m.log.Warn("embedded queue: redis-server is not installed, the queue runs in this process, "+
		"for one host and some hundreds of jobs", zap.String("journal", journalPath))
	return m, nil
}

func (m *memory) accept() {
	for {
		conn, err := m.listener.Accept()
		if err != nil {
			return
		}
		m.server.ServeConn(conn)
	}
}

// timeStep is the precision with which keys expire.
const timeStep = 20 * time.Millisecond

// advanceTime lets keys expire, but never while a durable command is executed, because the journal
// records whether the lease existed then. No time passes in a replay.
func (m *memory) advanceTime() {
	tick := time.NewTicker(timeStep)
	defer tick.Stop()
	for last := time.Now(); ; {
		select {
		case <-m.stopped:
			return
		case now := <-tick.C:
			m.mu.Lock()
			m.redis.FastForward(now.Sub(last))
			m.mu.Unlock()
			last = now
		}
	}
}

// replay executes the commands of the journal, and writes a new journal of the result.
func (m *memory) replay() error {
	conn, err := m.redis.Dial()
	if err != nil {
		return err
	}
	rdb := redis.NewClient(&redis.Options{Protocol: 2, DisableIdentity: true, Dialer: dialOnce(conn), PoolSize: 1})
	defer rdb.Close()
	if err := replayJournal(m.path, rdb, m.log); err != nil {
		return err
	}
	// With all scripts loaded, no EVALSHA that hook writes to the journal fails with NOSCRIPT.
	for _, source := range m.scripts {
		if err := rdb.ScriptLoad(context.Background(), source).Err(); err != nil {
			return err
		}
	}
	// Leases and all other keys that are not durable end with the process.
	for _, key := range m.redis.Keys() {
		if !m.schema.Durable(key) {
			m.redis.Del(key)
		}
	}
	// A crash during a rewrite may have left a temporary file as large as the journal.
	if err := fsx.RemoveTemporary(filepath.Dir(m.path)); err != nil {
		return err
	}
	m.journal, err = rewriteJournal(m.path, m.contents())
	return err
}

const (
	journalLeast = 64 << 20
	// journalGrowth is how many times as large a journal may become before it is rewritten.
	journalGrowth = 4
)

// compact rewrites a journal that has grown: each save of a job that runs for days is in it.
func (m *memory) compact() {
	if m.journal.size < max(m.least, journalGrowth*m.journal.base) {
		return
	}
	next, err := rewriteJournal(m.path, m.contents())
	if err != nil {
		m.log.Warn("journal not rewritten", zap.Error(err))
		m.journal.base = m.journal.size // tries again when it has grown as much again
		return
	}
	_ = m.journal.close()
	m.journal = next
}

// contents returns commands that restore the durable keys.
func (m *memory) contents() [][]string {
	var commands [][]string
	for _, key := range m.redis.Keys() {
		if !m.schema.Durable(key) {
			continue
		}
		switch m.redis.Type(key) {
		case "hash":
			command := []string{"HSET", key}
			fields, _ := m.redis.HKeys(key)
			for _, field := range fields {
				command = append(command, field, m.redis.HGet(key, field))
			}
			commands = append(commands, command)
		case "string":
			value, _ := m.redis.Get(key)
			commands = append(commands, []string{"SET", key, value})
		case "set":
			members, _ := m.redis.Members(key)
			commands = append(commands, append([]string{"SADD", key}, members...))
		case "zset":
			scores, _ := m.redis.SortedSet(key)
			for member, score := range scores {
				commands = append(commands, []string{"ZADD", key, fmt.Sprintf("%.0f", score), member})
			}
		}
	}
	return commands
}

// hook gets each command before it is executed. It writes a durable command to the journal, and
// executes it before it handles the next durable one, so that a replay has the same order.
func (m *memory) hook(p *server.Peer, cmd string, args ...string) bool {
	if m.executing.Load() == p {
		return false
	}
	durable := m.durableCommand(cmd, args)
	if durable == nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.compact()
	if err := m.journal.append(m.leaseCommand(durable), durable); err != nil {
		p.WriteError("MISCONF the queue's journal cannot be written: " + err.Error())
		return true
	}
	m.executing.Store(p)
	defer m.executing.Store(nil)
	m.server.Dispatch(p, append([]string{cmd}, args...))
	return true
}

// leaseCommand returns the command that restores the lease on which a script depends: some scripts
// do one thing with a lease and another without, and a replay must do the same.
func (m *memory) leaseCommand(command []string) []string {
	const firstKey = 3 // EVAL SCRIPT NUMKEYS KEY...
	if command[0] != "EVAL" || len(command) < firstKey {
		return nil
	}
	n, err := strconv.Atoi(command[firstKey-1])
	if err != nil || n < 0 || len(command) < firstKey+n {
		return nil
	}
	lease := m.schema.Lease(command[firstKey : firstKey+n])
	if lease == "" {
		return nil
	}
	if owner, err := m.redis.Get(lease); err == nil {
		return []string{"SET", lease, owner}
	}
	return []string{"DEL", lease}
}

// durableCommand returns a command as the journal keeps it; nil if it changes no durable key.
func (m *memory) durableCommand(cmd string, args []string) []string {
	if len(args) == 0 {
		return nil
	}
	switch cmd {
	case "EVALSHA":
		if source, ok := m.scripts[args[0]]; ok {
			return append([]string{"EVAL", source}, args[1:]...)
		}
	case "EVAL":
		if _, ok := m.scripts[hash(args[0])]; ok {
			return append([]string{cmd}, args...)
		}
	case "SADD", "SREM", "ZADD", "ZREM":
		if m.schema.Durable(args[0]) {
			return append([]string{cmd}, args...)
		}
	}
	return nil
}

func hash(script string) string {
	sum := sha1.Sum([]byte(script)) //nolint:gosec // Redis names scripts by it
	return hex.EncodeToString(sum[:])
}

func (m *memory) stop() error {
	m.redis.Close()
	return m.journal.close()
}

func (m *memory) close() error {
	err := m.listener.Close()
	close(m.stopped)
	for _, wait := range m.waits {
		wait()
	}
	return errors.Join(err, m.stop())
}

// kill has nothing to do: the server ends with this process.
func (m *memory) kill() {}
