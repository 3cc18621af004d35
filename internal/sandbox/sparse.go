package sandbox

import (
	"bytes"
	"errors"
	"os"
)

const (
	// granule is the smallest run of zeros that gives disk space back, in bytes. 4 KiB would save a
	// little more space and cost up to sixteen times the system calls on mixed data.
	granule = 64 << 10
	page    = 4 << 10
)

// zeros is never written to, so it takes no memory.
var zeros [maxRead]byte

// errNoHoles says that the file system cannot punch holes.
var errNoHoles = errors.New("no holes on this file system")

// writeSparse stores p at off and allocates nothing for granules that are zero.
func writeSparse(f *os.File, p []byte, off int64) error {
	for len(p) > 0 {
		n, zero := leadingRun(p, off)
		var err error
		if zero {
			err = clearRange(f, p[:n], off)
		} else {
			_, err = f.WriteAt(p[:n], off)
		}
		if err != nil {
			return err
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// leadingRun is how many bytes at the start of p are granules that all are zero, or all are not.
// Granules are aligned in the drive, so the first may be short; so may the last.
func leadingRun(p []byte, off int64) (n int, zero bool) {
	n = min(granule-int(off%granule), len(p))
	zero = isZero(p[:n])
	for n < len(p) {
		next := min(granule, len(p)-n)
		if isZero(p[n:n+next]) != zero {
			break
		}
		n += next
	}
	return n, zero
}

// clearRange makes the range of zeros p at off read as zeros: nothing where there is a hole
// already, a new hole where it is worth it, else the zeros themselves.
func clearRange(f *os.File, p []byte, off int64) error {
	if isHole(f, off, int64(len(p))) {
		return nil
	}
	if len(p) >= granule {
		if err := punchHole(f, off, int64(len(p))); !errors.Is(err, errNoHoles) {
			return err
		}
	}
	_, err := f.WriteAt(p, off)
	return err
}

// isZero compares with a page of zeros, at the speed of memory.
func isZero(p []byte) bool {
	for len(p) > page {
		if !bytes.Equal(p[:page], zeros[:page]) {
			return false
		}
		p = p[page:]
	}
	return bytes.Equal(p, zeros[:len(p)])
}
