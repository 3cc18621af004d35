package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/transferd/transferd/internal/queue"
)

const (
	user     = "chaos"
	password = "ch4os-s3cret"
)

// lab has all processes and endpoints of a run, and what the run has observed.
type lab struct {
	options
	dir       string
	redis     *process // nil: the first transferd has an embedded queue
	socket    string   // of Redis
	daemons   []*daemon
	endpoints []*endpoint
	images    []image
	queue     *queue.Client
	runs      runs
	history   history

	mu     sync.Mutex
	errors []string       // of the run
	counts map[string]int // for the report
}

func newLab(o options, dir string) (l *lab, err error) {
	l = &lab{options: o, dir: dir, counts: make(map[string]int)}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if err := l.startEndpoints(); err != nil {
		return l, err
	}
	if l.embedded() {
		err = l.startEmbedded()
	} else {
		err = l.startRedis()
	}
	if err != nil {
		return l, err
	}
	for i := len(l.daemons); i < o.daemons; i++ {
		if err := l.startDaemon(i); err != nil {
			return l, err
		}
	}
	return l, os.WriteFile(l.path("config.yaml"), []byte(l.config("redis: unix://"+l.socket)), 0o600)
}

// startEndpoints starts an endpoint that has two names, and one that corrupts each tenth read.
func (l *lab) startEndpoints() error {
	for i, names := range [][]string{{"a", "alias"}, {"b"}} {
		dice, corruptReads := l.dice(uint64(100+i)), 10.0
		if i == 0 {
			corruptReads = 3 * dice.Float64()
		}
		e, err := newEndpoint(names, l.path("endpoint-"+names[0]), dice, corruptReads)
		if err != nil {
			return err
		}
		l.endpoints = append(l.endpoints, e)
	}
	return nil
}

func (l *lab) startRedis() (err error) {
	l.socket = l.path("redis.sock")
	l.redis = &process{kind: "Redis", name: "redis", errorf: l.errorf, make: func() *exec.Cmd {
		return exec.Command("redis-server", "--port", "0", "--unixsocket", l.socket, "--dir", l.dir,
			"--appendonly", "yes", "--appendfsync", "always", "--save", "",
			"--maxmemory-policy", "noeviction", "--logfile", l.path("redis.log"))
	}}
	if err := l.redis.start(); err != nil {
		return err
	}
	l.queue, err = dialQueue("unix://" + l.socket)
	return err
}

func (l *lab) embedded() bool { return l.queueKind != queueRedis }

// startEmbedded starts the first transferd with an embedded queue. The others connect to it as to
// Redis.
func (l *lab) startEmbedded() (err error) {
	if err := l.startDaemon(0); err != nil {
		return err
	}
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		url, err := os.ReadFile(filepath.Join(l.state(0), "queue", "address"))
		if err == nil && len(url) > 0 {
			l.socket = strings.TrimPrefix(string(url), "unix://")
			break
		}
		if time.Since(began) > 10*time.Second {
			return fmt.Errorf("the first transferd serves no queue: %w", err)
		}
	}
	l.queue, err = dialQueue("unix://" + l.socket)
	return err
}

// daemon is a transferd with its network.
type daemon struct {
	*process
	redis, endpoints *relay
	log              *os.File // of all its processes
}

// startDaemon starts a transferd. The first two share a state folder, as on one host, and each
// other one has its own.
func (l *lab) startDaemon(i int) (err error) {
	d := &daemon{process: &process{kind: "transferd", name: fmt.Sprintf("transferd %d", i), errorf: l.errorf}}
	dialRedis := func(*bufio.Reader) (net.Conn, error) { return net.Dial("unix", l.socket) }
	if d.redis, err = newRelay(dialRedis); err != nil {
		return err
	}
	l.daemons = append(l.daemons, d)
	if d.endpoints, err = newRelay(l.dialEndpoint); err != nil {
		return err
	}
	config := l.path(fmt.Sprintf("config-%d.yaml", i))
	queue, path := "redis: redis://"+d.redis.address(), os.Getenv("PATH")
	if i == 0 && l.embedded() {
		queue = ""
		if l.queueKind == queueMemory {
			path = "" // without redis-server
		}
	}
	if err := os.WriteFile(config, []byte(l.config(queue)), 0o600); err != nil {
		return err
	}
	log, err := os.Create(l.path(fmt.Sprintf("%s/transferd-%d.log", logFolder, i)))
	if err != nil {
		return err
	}
	d.make = func() *exec.Cmd {
		cmd := exec.Command(l.path("transferd"), "--listen", "127.0.0.1:0", "--jobs", strconv.Itoa(l.users))
		cmd.Env = append(l.env(), "TRANSFERD_CONFIG="+config, "HTTP_PROXY=http://"+d.endpoints.address(),
			"TRANSFERD_STATE="+l.state(i), "PATH="+path)
		cmd.Stderr = l.runs.logOf(d.name, log)
		return cmd
	}
	d.log, d.ended = log, func() { l.runs.exited(d.name) }
	return d.start()
}

func (l *lab) state(i int) string { return l.path(fmt.Sprintf("state-%d", max(i, 1))) }

func (l *lab) dialEndpoint(near *bufio.Reader) (net.Conn, error) {
	host, err := proxiedHost(near)
	if err != nil {
		return nil, err
	}
	for _, e := range l.endpoints {
		if strings.EqualFold(strings.TrimSuffix(host, ":80"), e.host()) {
			return net.Dial("tcp", e.address)
		}
	}
	l.errorf("a transferd calls the unknown host %q", host)
	return nil, errNoProxyRequest
}

func (l *lab) path(name string) string { return filepath.Join(l.dir, name) }

func (l *lab) env() []string {
	return append(os.Environ(), "TRANSFERD_CONFIG="+l.path("config.yaml"), "CHAOS_PASSWORD="+password,
		"TRANSFERD_STATE="+l.path("state"))
}

func (l *lab) config(queue string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nroots: [%s]\nendpoints:\n", queue, l.dir)
	for _, e := range l.endpoints {
		for i, url := range e.urls() {
			fmt.Fprintf(&b, "  %s: {url: \"%s\", user: %s, password_env: CHAOS_PASSWORD, max_in_flight: 8}\n",
				e.names[i], url, user)
		}
	}
	return b.String()
}

func dialQueue(url string) (*queue.Client, error) {
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		c, err := queue.Dial(context.Background(), queue.Options{URL: url})
		if err == nil || time.Since(began) > 10*time.Second {
			return c, err
		}
	}
}

// count adds n to a count of the report.
func (l *lab) count(what string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts[what] += n
}

// errorf records an error, which fails the run.
func (l *lab) errorf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errors = append(l.errors, fmt.Sprintf(format, args...))
	fmt.Println("ERROR:", l.errors[len(l.errors)-1])
}

func (l *lab) logf(format string, args ...any) {
	if l.verbose {
		fmt.Printf(time.Now().UTC().Format("15:04:05.000 ")+format+"\n", args...)
	}
}

// stopDaemons stops all transferds but the one with the embedded queue.
func (l *lab) stopDaemons() {
	for i, d := range l.daemons {
		if i == 0 && l.embedded() {
			continue
		}
		d.end(syscall.SIGTERM)
	}
}

func (l *lab) close() {
	for _, d := range l.daemons {
		d.end(syscall.SIGTERM)
		for _, r := range []*relay{d.redis, d.endpoints} {
			if r != nil {
				r.close()
			}
		}
		if d.log != nil {
			_ = d.log.Close()
		}
	}
	if l.queue != nil {
		_ = l.queue.Close()
	}
	if l.redis != nil {
		l.redis.end(syscall.SIGKILL)
	}
	for _, e := range l.endpoints {
		e.down()
		_ = e.server.Close()
	}
}
