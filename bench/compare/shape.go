package main

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// shaper is a link between two ends on one machine: it delays bytes, and limits the rate of each
// direction, over all connections together. It does not use the kernel's traffic control.
type shaper struct {
	listener net.Listener
	server   string
	delay    time.Duration    // of each direction
	limits   [2]*rate.Limiter // by direction
	passed   [2]atomic.Int64  // bytes, by direction
	conns    sync.WaitGroup
}

// piece is the most that is passed on at once, in bytes: half a millisecond at 1 Gbit/s.
const piece = 64 << 10

func newShaper(server string, s *shape) (*shaper, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	h := &shaper{listener: l, server: server, delay: s.delay}
	for i := range h.limits {
		h.limits[i] = rate.NewLimiter(rate.Limit(s.rate), piece)
	}
	h.conns.Go(h.accept)
	return h, nil
}

func (h *shaper) address() string { return h.listener.Addr().String() }

func (h *shaper) accept() {
	for {
		client, err := h.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", h.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		h.conns.Go(func() { h.pass(server, client, 0) })
		h.conns.Go(func() { h.pass(client, server, 1) })
	}
}

// delayed is a piece, and when it is due.
type delayed struct {
	bytes []byte
	due   time.Time
}

// pass passes bytes on in one direction, each piece when it is due.
func (h *shaper) pass(to, from net.Conn, direction int) {
	const inFlight = 256 // pieces: more than 1 Gbit/s has in flight during the longest delay
	pieces := make(chan delayed, inFlight)
	h.conns.Go(func() {
		defer close(pieces)
		for {
			p := make([]byte, piece)
			n, err := from.Read(p)
			if n > 0 && h.limits[direction].WaitN(context.Background(), n) == nil {
				pieces <- delayed{p[:n], time.Now().Add(h.delay)}
			}
			if err != nil {
				return
			}
		}
	})
	for p := range pieces {
		time.Sleep(time.Until(p.due))
		h.passed[direction].Add(int64(len(p.bytes)))
		if _, err := to.Write(p.bytes); err != nil {
			_, _ = io.Copy(io.Discard, from)
		}
	}
	if t, ok := to.(*net.TCPConn); ok {
		_ = t.CloseWrite()
	}
}

func (h *shaper) close() { _ = h.listener.Close() }
