package sandbox

import (
	"bytes"
	"errors"
	"os"
)

const (
	// granule is the smallest range of zeros that is not stored, in bytes. 4 KiB would save a
	// little more space and cost up to sixteen times the system calls on mixed data.
	granule = 64 << 10
	page    = 4 << 10
)

// zeros is only read, so the kernel maps one page of zeros for all of it.
var zeros [maxRead]byte

// errNoHoles: the file system cannot punch holes, or not copy in the kernel.
var errNoHoles = errors.New("no holes on this file system")

// writeSparse writes p at off, and allocates no space for granules of zeros.
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

// leadingRun is the length of the granules at the start of p that are all zero, or all not zero.
// Granules are aligned in the drive, so that the first and the last may be short.
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

// clearRange makes the range of p at off read as zeros: it keeps a hole, punches one for at least a
// granule, and else writes the zeros of p.
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

// isZero reports whether p is all zeros, at the speed of memory.
func isZero(p []byte) bool {
	for len(p) > page {
		if !bytes.Equal(p[:page], zeros[:page]) {
			return false
		}
		p = p[page:]
	}
	return bytes.Equal(p, zeros[:len(p)])
}
