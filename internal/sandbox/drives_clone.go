package sandbox

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

const (
	// maxCopies is the number of clones that copy at the same time; others are queued.
	maxCopies = 2
	// copyStep is how much is copied between two checks for Close, in bytes.
	copyStep = 16 << 20
)

// imaging is the state of a drive that is the target of a clone.
type imaging struct {
	claim claim // with the UUID of the new drive; source and target show it
	began time.Time
	least time.Duration // it stays imaging at least this long
	total int64         // bytes of the source

	running atomic.Bool
	done    atomic.Int64 // bytes
}

// progress is the value of the imaging key: queued, or 0% to 99%, never falling.
func (c *imaging) progress() string {
	if !c.running.Load() {
		return "queued"
	}
	percent := c.done.Load() * 100 / max(c.total, 1)
	if c.least > 0 {
		percent = min(percent, int64(time.Since(c.began)*100/c.least))
	}
	return strconv.FormatInt(min(percent, 99), 10) + "%"
}

// cloneSource is anyDrive, except that an unknown one is a bad request (manual 7.4).
func (s *Server) cloneSource(req *request) (*drive, error) {
	d, err := s.anyDrive(req)
	if err != nil {
		return nil, notFound(http.StatusBadRequest, kindDrive, req.parameters["uuid"])
	}
	return d, nil
}

// cloneDrive handles /drives/UUID/clone (manual 7.4). It responds with the new drive at once. Until
// the last byte is copied the new drive has the status copying and the keys imaging and claimed;
// then it is active and has neither key.
func (s *Server) cloneDrive(req *request, src *drive) (response, error) {
	in, err := req.input()
	if err != nil {
		return response{}, err
	}
	src.mu.RLock()
	source := src.attrs
	src.mu.RUnlock()
	a := source.inherited()
	bad := a.apply(in)
	a.applyDriveType(in)
	bad = append(bad, nameRequired(in)...)
	if text, _ := in.get("size"); text != "" {
		size, why := driveSize(text)
		if why == "" && size < source.size {
			why = "is smaller than the drive to clone"
		}
		if why != "" {
			bad.add("errors:size", why)
		}
		a.size = size
	}
	if len(bad) > 0 {
		return response{}, invalidInput(in, bad)
	}
	return s.startClone(src, a)
}

// startClone makes the new drive, starts the copy, and responds with the new drive.
func (s *Server) startClone(src *drive, a attributes) (response, error) {
	dst, err := s.newClone(src, a)
	if err != nil {
		return response{}, err
	}
	resp, err := s.show(dst)
	s.startCopy(pendingCopy{src, dst})
	return resp, err
}

// pendingCopy is a clone that is not being copied yet.
type pendingCopy struct{ src, dst *drive }

// newClone claims src and makes the new drive, which is imaging. startCopy or dropClone must
// follow.
func (s *Server) newClone(src *drive, a attributes) (*drive, error) {
	if err := s.beginTask(); err != nil {
		return nil, err
	}
	id := uuid.NewString()
	state := &imaging{claim: s.newClaim(byClone, id), began: time.Now(), least: s.faults.Load().imaging}
	err := src.claimSource(state, a.size, s.cfg.CloneInUse)
	if err != nil {
		s.tasks.Done()
		return nil, err
	}
	d, err := s.addDrive(id, a, state)
	if err != nil {
		src.release(state.claim)
		s.tasks.Done()
		return nil, err
	}
	if state.least > 0 {
		s.counts.add(faultImaging)
	}
	return d, nil
}

func (s *Server) startCopy(c pendingCopy) {
	state := c.dst.imaging
	go func() {
		defer s.tasks.Done()
		err := s.runCopy(c.src, c.dst, state)
		c.src.release(state.claim) // first, so that a client that sees the clone active can destroy its source
		s.endImaging(c.dst, err)
	}()
}

// dropClone undoes newClone.
func (s *Server) dropClone(c pendingCopy) {
	defer s.tasks.Done()
	c.src.release(c.dst.imaging.claim)
	c.dst.mu.Lock()
	c.dst.status, c.dst.imaging = statusInactive, nil
	c.dst.mu.Unlock()
	_ = s.drives.destroy(c.dst) // what it leaves is inactive at the next start
}

// claimSource claims d as the source of a clone of size bytes: until the claim is released it
// cannot be written, resized or destroyed. inUse allows that a server runs with it.
func (d *drive) claimSource(c *imaging, size int64, inUse bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gone {
		return notFound(http.StatusBadRequest, kindDrive, d.id)
	}
	if err := d.usable(); err != nil {
		return err
	}
	if size < d.attrs.size { // it has grown since the input was checked
		return statusErrorf(http.StatusBadRequest, "size", "is smaller than the drive to clone")
	}
	if d.claimedBy(byServer) && !d.shared() && !inUse {
		return d.unclaimed()
	}
	c.total = d.attrs.size
	d.claims = append(d.claims, c.claim)
	return nil
}

// runCopy waits for a free slot, copies, and waits until the least time of imaging is over.
func (s *Server) runCopy(src, dst *drive, c *imaging) error {
	select {
	case s.slots <- struct{}{}:
	case <-s.closing:
		return errClosed
	}
	c.running.Store(true)
	err := s.copyData(src, dst, c)
	<-s.slots
	if err != nil {
		return err
	}
	if s.copied != nil {
		s.copied(dst.id)
	}
	pause(s.closing, c.least-time.Since(c.began))
	if s.isClosed() {
		return errClosed
	}
	return nil
}

// endImaging ends the imaging of d, which becomes active if err is nil, else inactive. Nothing else
// changes a drive that is copying, so its description can be written without the lock.
func (s *Server) endImaging(d *drive, err error) {
	end := statusActive
	if err != nil {
		end = statusInactive
	}
	after := &drive{entry: d.entry, attrs: d.attrs, status: end}
	if err := s.drives.save(after); err != nil {
		end = statusInactive // on disk it is copying, and becomes inactive at the next start
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status, d.imaging = end, nil
}

// copyData copies the data of src to the same offsets of dst, which is empty.
func (s *Server) copyData(src, dst *drive, c *imaging) error {
	from, err := src.open(os.O_RDONLY)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := dst.open(os.O_RDWR)
	if err != nil {
		return err
	}
	defer to.Close()
	copyPart := copyRange
	for off := int64(0); off < c.total; {
		start, end := nextData(from, off, c.total)
		for start < end {
			if s.isClosed() {
				return errClosed
			}
			n := min(end-start, copyStep)
			err := copyPart(to, from, start, n)
			if errors.Is(err, errNoHoles) {
				copyPart = copyThrough
				continue
			}
			if err != nil {
				return err
			}
			start += n
			c.done.Store(start)
		}
		off = end
		c.done.Store(off)
	}
	return nil
}

// copyThrough is copyRange through memory.
func copyThrough(dst, src *os.File, off, n int64) error {
	block := blocks.Get().(*[]byte)
	defer blocks.Put(block)
	for n > 0 {
		p := (*block)[:min(n, blockSize)]
		if _, err := io.ReadFull(io.NewSectionReader(src, off, int64(len(p))), p); err != nil {
			return err
		}
		if err := writeSparse(dst, p, off); err != nil {
			return err
		}
		off, n = off+int64(len(p)), n-int64(len(p))
	}
	return nil
}
