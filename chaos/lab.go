package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/transferd/transferd/internal/queue"
	"github.com/transferd/transferd/internal/sandbox"
)

const (
	user     = "chaos"
	password = "ch4os-s3cret"
)

// lab is everything that runs, and what was seen of it.
type lab struct {
	options
	dir       string
	redis     *process
	daemons   []*process
	endpoints []*endpoint
	images    []image
	queue     *queue.Client
	runs      runs

	mu     sync.Mutex
	faults []string       // what must not be
	counts map[string]int // what happened
	known  []string       // the jobs that were acknowledged
}

func newLab(o options, dir string) (l *lab, err error) {
	l = &lab{options: o, dir: dir, counts: make(map[string]int)}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	for i, name := range []string{"a", "b"} {
		e, err := newEndpoint(name, l.path("endpoint-"+name), o.dice(uint64(100+i)))
		if err != nil {
			return l, err
		}
		l.endpoints = append(l.endpoints, e)
	}
	if err := os.WriteFile(l.path("config.yaml"), []byte(l.config()), 0o600); err != nil {
		return l, err
	}
	socket := l.path("redis.sock")
	l.redis = &process{name: "redis", make: func() *exec.Cmd {
		return exec.Command("redis-server", "--port", "0", "--unixsocket", socket, "--dir", dir, "--appendonly", "yes",
			"--appendfsync", "always", "--save", "", "--maxmemory-policy", "noeviction", "--logfile", l.path("redis.log"))
	}}
	if err := l.redis.start(); err != nil {
		return l, err
	}
	if l.queue, err = dialPatiently("unix://" + socket); err != nil {
		return l, err
	}
	for i := range o.daemons {
		d := &process{name: fmt.Sprintf("transferd %d", i)}
		d.make = func() *exec.Cmd {
			cmd := exec.Command(l.path("transferd"), "--listen", "127.0.0.1:0", "--jobs", "3")
			cmd.Env = l.env()
			cmd.Stderr = l.runs.of(d.name)
			return cmd
		}
		d.ended = func() { l.runs.died(d.name) }
		if err := d.start(); err != nil {
			return l, err
		}
		l.daemons = append(l.daemons, d)
	}
	return l, nil
}

func (l *lab) path(name string) string { return filepath.Join(l.dir, name) }

func (l *lab) env() []string {
	return append(os.Environ(), "TRANSFERD_CONFIG="+l.path("config.yaml"), "CHAOS_PASSWORD="+password, "TRANSFERD_STATE="+l.path("state"))
}

func (l *lab) config() string {
	var b strings.Builder
	fmt.Fprintf(&b, "redis: unix://%s\nroots: [%s]\nendpoints:\n", l.path("redis.sock"), l.dir)
	for _, e := range l.endpoints {
		fmt.Fprintf(&b, "  %s: {url: \"http://%s\", user: %s, password_env: CHAOS_PASSWORD, max_in_flight: 8}\n", e.name, e.address, user)
	}
	return b.String()
}

func dialPatiently(url string) (*queue.Client, error) {
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		c, err := queue.Dial(context.Background(), queue.Options{URL: url})
		if err == nil || time.Since(began) > 10*time.Second {
			return c, err
		}
	}
}

// happened counts something.
func (l *lab) happened(what string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts[what] += n
}

// wrong notes what must not be.
func (l *lab) wrong(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = append(l.faults, fmt.Sprintf(format, args...))
	fmt.Println("WRONG:", l.faults[len(l.faults)-1])
}

func (l *lab) tell(format string, args ...any) {
	if l.verbose {
		fmt.Printf(format+"\n", args...)
	}
}

// unleash kills daemons, Redis and endpoints until over, and then brings back what is away.
func (l *lab) unleash(killers *sync.WaitGroup, over <-chan struct{}) {
	for i, d := range l.daemons {
		dice := l.dice(uint64(200 + i))
		killers.Go(func() {
			repeatedly(over, dice, 6*time.Second, func() {
				signal := syscall.SIGKILL
				if dice.IntN(4) == 0 {
					signal = syscall.SIGTERM
				}
				l.happened(fmt.Sprintf("transferd ended by %s", signalName(signal)), 1)
				l.outage(d, signal, dice, 3*time.Second)
			})
		})
	}
	dice := l.dice(300)
	killers.Go(func() {
		repeatedly(over, dice, 10*time.Second, func() {
			l.happened("Redis ended by SIGKILL", 1)
			away := 4 * time.Second
			if dice.IntN(6) == 0 {
				l.happened("Redis away for longer than leases last", 1)
				away = 40 * time.Second
			}
			l.outage(l.redis, syscall.SIGKILL, dice, away)
		})
	})
	for i, e := range l.endpoints {
		dice := l.dice(uint64(400 + i))
		killers.Go(func() {
			repeatedly(over, dice, 10*time.Second, func() {
				l.happened("endpoint away", 1)
				l.tell("endpoint %s is away", e.name)
				e.down()
				time.Sleep(atMost(dice, 3*time.Second))
				if err := e.up(); err != nil {
					l.wrong("endpoint %s: %v", e.name, err)
				}
			})
		})
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
	l.tell("%s gets %s", p.name, signalName(signal))
	p.end(signal)
	time.Sleep(atMost(dice, most))
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

func (l *lab) stopDaemons() {
	for _, d := range l.daemons {
		d.end(syscall.SIGTERM)
	}
}

func (l *lab) close() {
	l.stopDaemons()
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

// process is a program that can be ended and started again.
type process struct {
	name  string
	make  func() *exec.Cmd
	ended func() // called when it has
	mu    sync.Mutex
	cmd   *exec.Cmd
	gone  chan struct{}
}

// start starts it again too if it ended by itself, as a transferd does that finds no Redis.
func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cmd, p.gone = p.make(), make(chan struct{})
	if err := p.cmd.Start(); err != nil {
		p.cmd = nil
		return err
	}
	go p.keep(p.cmd, p.gone)
	return nil
}

const restartPause = 200 * time.Millisecond

func (p *process) keep(cmd *exec.Cmd, gone chan struct{}) {
	_ = cmd.Wait()
	if p.ended != nil {
		p.ended()
	}
	p.mu.Lock()
	wanted := p.cmd == cmd
	p.mu.Unlock()
	close(gone)
	if wanted {
		time.Sleep(restartPause)
		p.mu.Lock()
		wanted = p.cmd == cmd
		p.mu.Unlock()
		if wanted {
			_ = p.start()
		}
	}
}

func (p *process) end(signal syscall.Signal) {
	p.mu.Lock()
	cmd, gone := p.cmd, p.gone
	p.cmd = nil
	p.mu.Unlock()
	if cmd != nil {
		_ = cmd.Process.Signal(signal)
		<-gone
	}
}

// endpoint is a sandbox that can be away.
type endpoint struct {
	name    string
	address string
	server  *sandbox.Server
	mu      sync.Mutex
	http    *http.Server
	writes  int
}

// faultsOf is every kind of fault, each as strong as the dice say.
func faultsOf(dice *rand.Rand) (faults []sandbox.Fault, err error) {
	for _, kind := range []string{"409", "504", "500", "reset", "truncate", "corrupt-write", "corrupt-read"} {
		f, err := sandbox.ParseFault(fmt.Sprintf("%s=%.2f%%", kind, dice.Float64()*3))
		if err != nil {
			return nil, err
		}
		faults = append(faults, f)
	}
	for _, spec := range []string{fmt.Sprintf("latency=%dms", dice.IntN(10)), fmt.Sprintf("bandwidth=%dM", 10+dice.IntN(40)), "imaging=500ms"} {
		f, err := sandbox.ParseFault(spec)
		if err != nil {
			return nil, err
		}
		faults = append(faults, f)
	}
	return faults, nil
}

func newEndpoint(name, dir string, dice *rand.Rand) (*endpoint, error) {
	faults, err := faultsOf(dice)
	if err != nil {
		return nil, err
	}
	e := &endpoint{name: name, address: freeAddress(dice)}
	e.server, err = sandbox.New(sandbox.Config{Dir: dir, User: user, Password: password, Faults: faults, Seed: dice.Uint64() | 1, Intercept: e.count})
	if err != nil {
		return nil, err
	}
	return e, e.up()
}

// freeAddress is one that no outgoing connection is given while the endpoint is away: of a port below those (ip(7)).
func freeAddress(dice *rand.Rand) string {
	for {
		address := fmt.Sprintf("127.0.0.1:%d", 20_000+dice.IntN(10_000))
		if l, err := net.Listen("tcp", address); err == nil {
			_ = l.Close()
			return address
		}
	}
}

// count counts the writes that are asked for.
func (e *endpoint) count(_ http.ResponseWriter, r *http.Request) bool {
	if strings.Contains(r.URL.Path, "/write") {
		e.mu.Lock()
		e.writes++
		e.mu.Unlock()
	}
	return false
}

func (e *endpoint) up() error {
	listener, err := net.Listen("tcp", e.address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: e.server.Handler(), ReadHeaderTimeout: 10 * time.Second}
	e.mu.Lock()
	e.http = server
	e.mu.Unlock()
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			fmt.Println("endpoint", e.name, err)
		}
	}()
	return nil
}

// down cuts all connections and takes no more.
func (e *endpoint) down() {
	e.mu.Lock()
	defer e.mu.Unlock()
	_ = e.http.Close()
}
