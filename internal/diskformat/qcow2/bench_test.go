package qcow2

import (
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/transferd/transferd/internal/diskformat/disktest"
)

// BenchmarkRead reads chunks of 4 MiB as the lanes of a job do. Compare with the time of qemu-img
// convert for the same image (docs/performance.md).
func BenchmarkRead(b *testing.B) {
	requireQemu(b)
	const size, chunk = 128 << 20, 4 << 20
	dir := b.TempDir()
	disktest.Raw(b, filepath.Join(dir, "disk.img"), size, 1)
	for name, args := range map[string][]string{
		"plain": nil, "zlib": {"-c"}, "zstd": {"-c", "-o", "compression_type=zstd"},
		"clusters of 512": {"-o", "cluster_size=512"}, "extended": {"-o", "extended_l2=on"},
	} {
		b.Run(name, func(b *testing.B) {
			args := append([]string{"convert", "-f", "raw", "-O", "qcow2"}, args...)
			disktest.Run(b, dir, "qemu-img", append(args, "disk.img", "x.qcow2")...)
			d := openImage(b, dir, "x.qcow2")
			b.SetBytes(chunk)
			var next atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				p := make([]byte, chunk)
				for pb.Next() {
					if err := d.ReadAt(b.Context(), p, next.Add(chunk)%size); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
