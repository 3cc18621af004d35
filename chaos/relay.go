package main

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"strings"
	"sync"
	"time"
)

// relay is the network between one transferd and a server. While it is cut, it holds back all
// bytes: it neither refuses nor answers connections. Its buffers are small.
type relay struct {
	listener net.Listener
	dial     func(near *bufio.Reader) (net.Conn, error) // near has the bytes sent so far
	gate     sync.RWMutex                               // locked while it is cut

	mu    sync.Mutex
	conns map[net.Conn]bool
}

const (
	// relayed is how many bytes a relay passes on at once.
	relayed = 16 << 10
	// holdLimit is the longest time for which a network may hold back bytes that it then delivers
	// (docs/reliability.md, "The wait"). After a longer cut, the relay resets its connections.
	holdLimit = 20 * time.Second
)

func newRelay(dial func(near *bufio.Reader) (net.Conn, error)) (*relay, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{listener: listener, dial: dial, conns: make(map[net.Conn]bool)}
	go r.accept()
	return r, nil
}

func (r *relay) address() string { return r.listener.Addr().String() }

func (r *relay) accept() {
	for {
		near, err := r.listener.Accept()
		if err != nil {
			return
		}
		_ = near.(*net.TCPConn).SetReadBuffer(relayed)
		go r.serve(near)
	}
}

func (r *relay) serve(near net.Conn) {
	r.keep(near)
	defer r.drop(near)
	from := bufio.NewReaderSize(near, relayed)
	r.open()
	far, err := r.dial(from)
	if err != nil {
		return
	}
	r.keep(far)
	defer r.drop(far)
	answers := make(chan struct{})
	go func() {
		defer close(answers)
		r.pass(near, far)
	}()
	r.pass(far, from)
	<-answers
}

// open waits while the relay is cut.
func (r *relay) open() {
	r.gate.RLock()
	r.gate.RUnlock() //nolint:staticcheck // it only waits
}

// pass copies bytes until one of the two connections ends, and closes the other.
func (r *relay) pass(to net.Conn, from interface{ Read([]byte) (int, error) }) {
	defer to.Close()
	b := make([]byte, relayed)
	for {
		r.open()
		n, err := from.Read(b)
		r.gate.RLock()
		_, writeErr := to.Write(b[:n])
		r.gate.RUnlock()
		if err != nil || writeErr != nil {
			return
		}
	}
}

func (r *relay) keep(c net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns[c] = true
}

func (r *relay) drop(c net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
	_ = c.Close()
}

// cut cuts the relay until heal is called.
func (r *relay) cut() (heal func()) {
	r.gate.Lock()
	began := time.Now()
	return func() {
		if time.Since(began) > holdLimit {
			r.reset()
		}
		r.gate.Unlock()
	}
}

// reset resets all connections, and drops the bytes that they hold.
func (r *relay) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetLinger(0)
		}
		_ = c.Close()
	}
}

func (r *relay) close() {
	_ = r.listener.Close()
	r.reset()
}

// errNoProxyRequest: the first bytes of a connection are no request to a proxy.
var errNoProxyRequest = errors.New("no request to a proxy")

// proxiedHost reads the host of the first proxy request on a connection. transferd uses each
// connection for one endpoint only.
func proxiedHost(near *bufio.Reader) (string, error) {
	for {
		if _, err := near.Peek(near.Buffered() + 1); err != nil {
			return "", err
		}
		head, _ := near.Peek(near.Buffered())
		line, _, ok := bytes.Cut(head, []byte("\r\n"))
		if !ok {
			continue
		}
		_, rest, ok := strings.Cut(string(line), "://")
		host, _, _ := strings.Cut(rest, "/")
		if !ok {
			return "", errNoProxyRequest
		}
		return host, nil
	}
}
