package sandbox

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"slices"
	"time"
)

const (
	// shutdownTime is how long a guest takes to obey a shutdown, unless the fault shutdown says
	// otherwise.
	shutdownTime = 3 * time.Second
	// guestTick is the time between two bursts of writes of a guest.
	guestTick = 100 * time.Millisecond
)

// guest is the operating system in a server, from a start to the stop. It writes, if rate is not 0:
// a page to each of its disks when it boots and when it shuts down, and random pages at the rate in
// between. The lock of the servers guards shuttingDown.
type guest struct {
	disks []*disk
	ended chan struct{} // closed when the server stops

	obey         *time.Timer // fires when the guest obeys a shutdown
	shuttingDown bool

	rate     int64   // bytes a second
	writable []*disk // without CDs
	began    time.Time
	written  int64 // bytes since it began, at the rate
	pages    int64 // number of pages written
	source   *rand.ChaCha8
	random   *rand.Rand
}

func newGuest(disks []*disk, rate int64) *guest {
	g := &guest{
		disks: disks, ended: make(chan struct{}), obey: time.NewTimer(shutdownTime), rate: rate,
		writable: slices.DeleteFunc(slices.Clone(disks), func(k *disk) bool { return k.readOnly }),
	}
	g.obey.Stop()
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], rand.Uint64())
	g.source = rand.NewChaCha8(seed)
	g.random = rand.New(g.source)
	return g
}

// shutDown makes the guest shut down after a delay, unless it does so already.
func (g *guest) shutDown(delay time.Duration) {
	if delay != Never && !g.shuttingDown {
		g.shuttingDown = true
		g.obey.Reset(delay)
	}
}

// reset boots the guest again, which ends a shutdown.
func (g *guest) reset() {
	g.shuttingDown = false
	g.obey.Stop()
}

// end ends the guest: its drives are free, and it writes no more.
func (g *guest) end() {
	releaseDisks(g.disks)
	close(g.ended)
}

// run is the guest g of v from its start to its end, or until Close.
func (s *Server) run(v *virtualServer, g *guest) {
	defer s.tasks.Done()
	var tick <-chan time.Time
	if g.rate > 0 && len(g.writable) > 0 {
		ticker := time.NewTicker(guestTick)
		defer ticker.Stop()
		tick = ticker.C
		g.began = time.Now()
		g.writeEach()
	}
	for {
		select {
		case <-s.closing:
			return
		case <-g.ended:
			return
		case <-tick:
			g.writeSome()
		case <-g.obey.C:
			if g.rate > 0 {
				g.writeEach()
			}
			if s.powerOff(v, g) {
				return
			}
		}
	}
}

// writeEach writes a page to each disk.
func (g *guest) writeEach() {
	for _, k := range g.writable {
		g.writePage(k, page)
	}
}

// writeSome writes what is due at the rate, to the disks in turn. After a pause it writes at most
// the bytes of one second.
func (g *guest) writeSome() {
	due := int64(float64(g.rate)*time.Since(g.began).Seconds()) - g.written
	g.written += due
	for left := min(due, g.rate); left > 0; left -= page {
		g.writePage(g.writable[g.pages%int64(len(g.writable))], min(left, page))
	}
}

// writePage writes n random bytes, at most a page, at a random page of a disk. Errors end nothing:
// a disk that is full, or no longer claimed, is not written.
func (g *guest) writePage(k *disk, n int64) {
	g.pages++
	size := k.drive.size()
	off := g.random.Int64N((size+page-1)/page) * page
	p := make([]byte, min(n, size-off))
	_, _ = g.source.Read(p) // never fails
	f, err := k.drive.open(os.O_RDWR)
	if err != nil {
		return
	}
	defer f.Close()
	if k.drive.writeByServer(k.claim, f, p, off) == nil {
		k.writes.count(int64(len(p)))
		k.drive.writes.count(int64(len(p)))
	}
}
