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

// shaper is a link between two ends on one machine: bytes that go through it arrive later, and only so many a second each
// way, over all connections together. It needs nothing of the kernel, so it is the same everywhere.
type shaper struct {
	listener net.Listener
	server   string
	delay    time.Duration // each way
	ways     [2]*rate.Limiter
	moved    [2]atomic.Int64 // bytes, by way
	conns    sync.WaitGroup
}

// piece is how much is passed on at once, in bytes: a millisecond's worth or less at a gigabit.
const piece = 64 << 10

func newShaper(server string, s *shape) (*shaper, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	h := &shaper{listener: l, server: server, delay: s.delay}
	for i := range h.ways {
		h.ways[i] = rate.NewLimiter(rate.Limit(s.rate), piece)
	}
	h.conns.Go(h.accept)
	return h, nil
}

func (h *shaper) address() string { return h.listener.Addr().String() }

func (h *shaper) accept() {
	for {
		near, err := h.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", h.server)
		if err != nil {
			_ = near.Close()
			continue
		}
		h.conns.Go(func() { h.pass(far, near, 0) })
		h.conns.Go(func() { h.pass(near, far, 1) })
	}
}

type parcel struct {
	bytes []byte
	due   time.Time
}

// pass takes what comes from one end to the other, each piece in its time.
func (h *shaper) pass(to, from net.Conn, way int) {
	const onTheWay = 256 // pieces: more than a gigabit has under way in the longest delay
	parcels := make(chan parcel, onTheWay)
	h.conns.Go(func() {
		defer close(parcels)
		for {
			p := make([]byte, piece)
			n, err := from.Read(p)
			if n > 0 && h.ways[way].WaitN(context.Background(), n) == nil {
				parcels <- parcel{p[:n], time.Now().Add(h.delay)}
			}
			if err != nil {
				return
			}
		}
	})
	for p := range parcels {
		time.Sleep(time.Until(p.due))
		h.moved[way].Add(int64(len(p.bytes)))
		if _, err := to.Write(p.bytes); err != nil {
			_, _ = io.Copy(io.Discard, from)
		}
	}
	if t, ok := to.(*net.TCPConn); ok {
		_ = t.CloseWrite()
	}
}

func (h *shaper) close() { _ = h.listener.Close() }
