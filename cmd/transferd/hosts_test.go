package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/transferd/transferd/internal/cli"
	"github.com/transferd/transferd/internal/queue"
	"github.com/transferd/transferd/internal/sandbox"
	"github.com/transferd/transferd/internal/sandboxtest"
	"github.com/transferd/transferd/internal/transfer"
)

// leaseVariable makes a process of the test a transferd with leases of that duration.
const leaseVariable = "TRANSFERD_TEST_LEASE"

// serveWithLease runs a transferd with leases of the duration in text, and returns the exit status.
func serveWithLease(text string) int {
	lease, err := time.ParseDuration(text)
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		f := &daemonFlags{listen: "127.0.0.1:0", queues: []string{transfer.DefaultQueue}, jobs: 2, lease: lease}
		err = serve(ctx, f, new(cli.Signals), newLogger(os.Stderr, false))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

const (
	testUser     = "u"
	testPassword = "p4ssword"
)

// host is what the transferds of a test share: a Redis, and a sandbox that counts their writes.
type host struct {
	t        *testing.T
	dir      string
	redis    string // the socket
	endpoint string // host and port
	queue    *queue.Client
	server   *exec.Cmd // of Redis

	mu       sync.Mutex
	writes   map[string]int           // requests that write, by the address that they were sent to
	injected func(address string) int // a status that the sandbox answers such requests with; 0: none
}

func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{t: t, dir: t.TempDir(), writes: make(map[string]int)}
	_, url := sandboxtest.Start(t, sandbox.Config{
		Dir: filepath.Join(h.dir, "endpoint"), User: testUser, Password: testPassword, Intercept: h.intercept,
	})
	h.endpoint = strings.TrimPrefix(url, "http://")
	h.redis = filepath.Join(h.dir, "s")
	h.startRedis()
	t.Cleanup(h.killRedis)
	h.queue = h.dial()
	return h
}

func (h *host) startRedis() {
	h.t.Helper()
	h.server = exec.Command("redis-server", "--port", "0", "--unixsocket", h.redis, "--dir", h.dir,
		"--appendonly", "yes", "--appendfsync", "always", "--save", "", "--logfile", filepath.Join(h.dir, "redis.log"))
	if err := h.server.Start(); err != nil {
		h.t.Fatalf("start redis-server (Debian package redis-server): %v", err)
	}
}

func (h *host) killRedis() {
	_ = h.server.Process.Kill()
	_ = h.server.Wait()
}

func (h *host) dial() *queue.Client {
	h.t.Helper()
	for began := time.Now(); ; {
		c, err := queue.Dial(context.Background(), queue.Options{URL: "unix://" + h.redis})
		if err == nil {
			h.t.Cleanup(func() { _ = c.Close() })
			return c
		}
		if time.Since(began) > 30*time.Second {
			h.t.Fatal(err)
		}
	}
}

func (h *host) intercept(w http.ResponseWriter, r *http.Request) bool {
	if !strings.Contains(r.URL.Path, "/write") {
		return false
	}
	h.mu.Lock()
	h.writes[r.Host]++
	injected := h.injected
	h.mu.Unlock()
	if injected == nil || injected(r.Host) == 0 {
		return false
	}
	w.WriteHeader(injected(r.Host))
	return true
}

func (h *host) written(address string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.writes[address]
}

// allWrites is the number of requests that write, to any address.
func (h *host) allWrites() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, writes := range h.writes {
		n += writes
	}
	return n
}

// transferd is a process that serves the host's queue, under a state folder of its own.
type transferd struct {
	*exec.Cmd
	h        *host
	redis    *relay // between it and Redis
	endpoint *relay // between it and the endpoint
	once     sync.Once
}

// start starts a transferd; toEndpoint limits what it sends to the endpoint.
func (h *host) start(name string, lease time.Duration, toEndpoint *rate.Limiter) *transferd {
	h.t.Helper()
	d := &transferd{h: h, redis: newRelay(h.t, "unix", h.redis, nil, 0)}
	d.endpoint = newRelay(h.t, "tcp", h.endpoint, toEndpoint, 3<<20)
	config := filepath.Join(h.dir, name+".yaml")
	text := fmt.Sprintf(`redis: redis://%s/0
state: %s
roots: [%s]
endpoints:
  zrh: {url: "http://%s", user: %s, password_env: TEST_PASSWORD}
`, d.redis.address(), filepath.Join(h.dir, name), h.dir, d.endpoint.address(), testUser)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
	d.Cmd = exec.Command(os.Args[0])
	d.Env = append(os.Environ(),
		leaseVariable+"="+lease.String(), "TRANSFERD_CONFIG="+config, "TEST_PASSWORD="+testPassword)
	d.Stderr = h.t.Output()
	if err := d.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(d.end)
	return d
}

func (d *transferd) signal(s syscall.Signal) {
	d.h.t.Helper()
	if err := d.Process.Signal(s); err != nil {
		d.h.t.Fatalf("%s: %v", s, err)
	}
}

// end stops the process and waits for its end, which comes after its jobs have gone back to the
// queue.
func (d *transferd) end() {
	d.once.Do(func() {
		_ = d.Process.Signal(syscall.SIGCONT)
		_ = d.Process.Signal(syscall.SIGTERM)
		_ = d.Wait()
	})
}

// image writes an image of imageSize random bytes.
func (h *host) image(name string) (path string, content []byte) {
	h.t.Helper()
	content = make([]byte, imageSize)
	_, _ = rand.Read(content)
	path = filepath.Join(h.dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		h.t.Fatal(err)
	}
	return path, content
}

// upload enqueues a job; it overwrites the drive, or makes one if drive is empty.
func (h *host) upload(path, drive string) string {
	h.t.Helper()
	spec := transfer.NewSpec(transfer.Upload, transfer.Ref{Path: path}, transfer.Ref{Endpoint: "zrh", Drive: drive})
	spec.ChunkSize, spec.Concurrency, spec.Overwrite = 4<<20, 4, drive != ""
	spec.Compression, spec.Verify = transfer.CompressionNone, transfer.VerifyFull
	if drive == "" {
		spec.Name = "disk"
	}
	job, err := h.queue.Enqueue(h.t.Context(), spec)
	if err != nil {
		h.t.Fatal(err)
	}
	return job.ID
}

// await waits until the job has succeeded.
func (h *host) await(id string) transfer.Job {
	h.t.Helper()
	job := h.end(id)
	if job.State != transfer.Succeeded {
		h.t.Fatalf("got a job that is %s: %+v, want succeeded", job.State, job.Error)
	}
	return job
}

// end waits until the job has ended.
func (h *host) end(id string) transfer.Job {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	for job, err := range h.queue.Watch(ctx, id) {
		if err != nil {
			h.t.Fatal(err)
		}
		if job.State.Terminal() {
			return job
		}
	}
	h.t.Fatal("got a watch that ended, want the end of the job")
	return transfer.Job{}
}

// drive reads a drive of imageSize.
func (h *host) drive(uuid string) []byte {
	h.t.Helper()
	content := make([]byte, 0, imageSize)
	for off := 0; off < imageSize; off += 1 << 20 {
		path := fmt.Sprintf("/drives/%s/read/%d/%d", uuid, off, 1<<20)
		content = append(content, h.call(http.MethodGet, path, nil)...)
	}
	return content
}

// write writes to a drive, as a server does.
func (h *host) write(uuid string, off int, p []byte) {
	h.t.Helper()
	h.call(http.MethodPost, fmt.Sprintf("/drives/%s/write/%d", uuid, off), p)
}

// call sends a request to the endpoint and returns the body of the response.
func (h *host) call(method, path string, body []byte) []byte {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), method, "http://"+h.endpoint+path, bytes.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	req.SetBasicAuth(testUser, testPassword)
	req.Header.Set("Content-Type", "application/octet-stream")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		h.t.Fatal(err)
	}
	content, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil || resp.StatusCode/100 != 2 {
		h.t.Fatalf("%s %s: got %s, %v, want success", method, path, resp.Status, err)
	}
	return content
}

// relay passes bytes between a client and a server. While its gate is locked it holds them back:
// connections are neither refused nor answered. Its buffers are small.
type relay struct {
	listener net.Listener
	gate     sync.RWMutex
	toServer *rate.Limiter // bytes a second; nil: no limit
	left     atomic.Int64  // bytes to the server until someSent is closed
	someSent chan struct{}
	once     sync.Once
}

// relayStep is the most that a relay passes on at once, in bytes.
const relayStep = 16 << 10

// newRelay makes a relay to an address. It closes someSent when some bytes have gone to the server.
func newRelay(t *testing.T, network, address string, toServer *rate.Limiter, some int64) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	r := &relay{listener: l, toServer: toServer, someSent: make(chan struct{})}
	r.left.Store(some)
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial(network, address)
			if err != nil {
				_ = client.Close()
				continue
			}
			_ = client.(*net.TCPConn).SetReadBuffer(relayStep)
			go r.pass(server, client, r.sent)
			go r.pass(client, server, func(int) {})
		}
	}()
	return r
}

func (r *relay) address() string { return r.listener.Addr().String() }

// awaitSome waits until some bytes have gone to the server.
func (r *relay) awaitSome(t *testing.T) {
	t.Helper()
	select {
	case <-r.someSent:
	case <-time.After(time.Minute):
		t.Fatalf("%d bytes are still to be sent after a minute", r.left.Load())
	}
}

func (r *relay) sent(n int) {
	if r.left.Add(int64(-n)) <= 0 {
		r.once.Do(func() { close(r.someSent) })
	}
	if r.toServer != nil {
		_ = r.toServer.WaitN(context.Background(), n)
	}
}

// pass passes bytes on until one of the two connections has ended.
func (r *relay) pass(to, from net.Conn, passed func(n int)) {
	defer to.Close()
	b := make([]byte, relayStep)
	for {
		r.gate.RLock()
		r.gate.RUnlock() //nolint:staticcheck // it waits while the gate is locked
		n, err := from.Read(b)
		r.gate.RLock()
		_, writeErr := to.Write(b[:n])
		r.gate.RUnlock()
		if err != nil || writeErr != nil {
			return
		}
		passed(n)
	}
}
