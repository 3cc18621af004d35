package sandbox

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
)

// status is the key of that name in a drive object.
type status string

const (
	statusActive   status = "active"
	statusInactive status = "inactive" // its imaging was interrupted
	statusCopying  status = "copying"  // it is the target of a clone that has not ended
)

// drive is one drive. Its bytes are in the file at path.
//
// mu is read-locked while a block of bytes is stored or the state is read, so that writes to
// different offsets run in parallel, and locked while the state changes. It is never held while a
// request waits for its client.
type drive struct {
	entry
	path     string
	standard bool // a library drive: readable and clonable, nothing else

	mu      sync.RWMutex
	attrs   attributes
	status  status
	gone    bool     // destroyed; requests that found it before respond with 404
	claims  []claim  // of the servers that run with it, and of the clones that copy from it
	imaging *imaging // while it is itself the target

	reads, writes counter

	// disk is held while bytes are stored. The kernel allows one write at a time to a file, and
	// waits for the others in a loop that keeps a processor busy.
	disk sync.Mutex
}

// counter has the values of the keys NAME:bytes and NAME:requests, since the start of the sandbox.
type counter struct{ bytes, requests atomic.Int64 }

func (c *counter) count(n int64) {
	c.bytes.Add(n)
	c.requests.Add(1)
}

// pairs adds the keys of c under a name, such as read or ide:0:0:read.
func (c *counter) pairs(o *object, name string) {
	o.add(name+":bytes", strconv.FormatInt(c.bytes.Load(), 10))
	o.add(name+":requests", strconv.FormatInt(c.requests.Load(), 10))
}

// object is the drive as responses have it, nil if it was destroyed. owner is the UUID of the
// account.
func (d *drive) object(owner string) object {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.gone {
		return nil
	}
	if d.standard {
		owner = libraryUser
	}
	o := object{
		{"drive", d.id},
		{"name", d.attrs.name},
		{"size", strconv.FormatInt(d.attrs.size, 10)},
		{"status", string(d.status)},
		{"user", owner},
		{"type", d.attrs.kind},
	}
	switch {
	case d.imaging != nil:
		o.add("claimed", d.imaging.claim.text)
		o.add("imaging", d.imaging.progress())
	default:
		if text := d.claimed(); text != "" {
			o.add("claimed", text)
		}
	}
	d.attrs.pairs(&o)
	d.reads.pairs(&o, "read")
	d.writes.pairs(&o, "write")
	return o
}

// description implements entity. The caller holds mu, or is the only one that may change the drive.
func (d *drive) description() object {
	o := object{
		{"name", d.attrs.name},
		{"size", strconv.FormatInt(d.attrs.size, 10)},
		{"status", string(d.status)},
		{"type", d.attrs.kind},
	}
	d.attrs.pairs(&o)
	return o
}

// usable returns an error if the drive's bytes can be neither read nor changed. The caller holds
// mu.
func (d *drive) usable() error {
	switch {
	case d.gone:
		return notFound(http.StatusNotFound, kindDrive, d.id)
	case d.status == statusCopying:
		return busy(kindDrive, d.id, "it is being imaged")
	case d.status == statusInactive:
		return inactive(d.id)
	}
	return nil
}

// changeable returns an error if the drive's bytes cannot be changed. The caller holds mu.
func (d *drive) changeable() error {
	if err := d.usable(); err != nil {
		return err
	}
	return d.unclaimed()
}

// writable is the number of bytes that may be written from off on.
func (d *drive) writable(off int64) (int64, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if err := d.changeable(); err != nil {
		return 0, err
	}
	if off > d.attrs.size {
		return 0, statusErrorf(http.StatusBadRequest, "system",
			"Offset %d is past the end of the drive, %d.", off, d.attrs.size)
	}
	return d.attrs.size - off, nil
}

// readable returns an error if n bytes from off on cannot be read.
func (d *drive) readable(off, n int64) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if err := d.usable(); err != nil {
		return err
	}
	if off > d.attrs.size || n > d.attrs.size-off {
		return pastEnd(d.attrs.size)
	}
	return nil
}

func pastEnd(size int64) *statusError {
	return statusErrorf(http.StatusBadRequest, "system", "The range crosses the end of the drive, %d.", size)
}

// writeAt stores p at off in the open file f of this drive, unless the drive's state has changed
// since the request began.
func (d *drive) writeAt(f *os.File, p []byte, off int64) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if err := d.changeable(); err != nil {
		return err
	}
	if off > d.attrs.size || int64(len(p)) > d.attrs.size-off {
		return pastEnd(d.attrs.size)
	}
	return d.store(f, p, off)
}

// store stores p at off in the open file f of this drive. The caller holds mu.
func (d *drive) store(f *os.File, p []byte, off int64) error {
	d.disk.Lock()
	defer d.disk.Unlock()
	if err := writeSparse(f, p, off); err != nil {
		return internalError(err)
	}
	return nil
}

// open opens the drive's file. To open it for each request costs about 5 µs, and allows net/http to
// use sendfile, which moves the file's offset.
func (d *drive) open(flag int) (*os.File, error) {
	f, err := os.OpenFile(d.path, flag, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, notFound(http.StatusNotFound, kindDrive, d.id) // destroyed since the request began
	case err != nil:
		return nil, internalError(err)
	}
	return f, nil
}
