package image

import (
	"context"
	"io"
	"os"

	"github.com/transferd/transferd/internal/lease"
)

// writeAt is f.WriteAt in pieces of 256 KiB. It checks the lease directly before each piece,
// because the kernel does not stop a process within such a write.
func writeAt(l *lease.Lease, f *os.File, p []byte, off int64) (n int, err error) {
	for n < len(p) && err == nil {
		if err = l.Check(); err == nil {
			var k int
			k, err = f.WriteAt(p[n:min(len(p), n+writeBackSize)], off+int64(n))
			n += k
		}
	}
	return n, err
}

// leasedWriter writes to a file in order while the lease is valid. If the lease has lapsed, it
// waits for a renewal, because an encoder above it cannot repeat a failed write. stop ends the
// wait, and each later one.
type leasedWriter struct {
	dest  seekable
	lease *lease.Lease
	alive context.Context
	stop  context.CancelFunc
}

var _ io.Writer = (*leasedWriter)(nil)

func newLeasedWriter(dest seekable, l *lease.Lease) *leasedWriter {
	w := &leasedWriter{dest: dest, lease: l}
	w.alive, w.stop = context.WithCancel(context.Background())
	return w
}

func (w *leasedWriter) Write(p []byte) (int, error) {
	if err := w.lease.Await(w.alive); err != nil {
		return 0, err
	}
	return w.dest.file().Write(p)
}
