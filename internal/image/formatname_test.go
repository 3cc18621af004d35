package image

import (
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// TestFormatFollowsFromTheName: the ending of the name decides the format. A format that is not
// written is refused.
func TestFormatFollowsFromTheName(t *testing.T) {
	for name, want := range map[string]transfer.Format{
		"/a/disk": transfer.FormatRaw, "/a/disk.img": transfer.FormatRaw, "/a.qcow2/disk.raw": transfer.FormatRaw,
		"/dev/sdb": transfer.FormatRaw, "/a/disk.img.gz": transfer.FormatGzip, "/a/DISK.GZ": transfer.FormatGzip,
		"/a/disk.zst":   transfer.FormatZstd,
		"/a/disk.qcow2": "", "/a/disk.VMDK": "", "/a/disk.vhd": "", "/a/disk.img.xz": "",
		"/a/disk.bz2": "", "/a/disk.ova": "",
	} {
		got, err := FormatOfName(name)
		if got != want || (err == nil) != (want != "") || err != nil && transfer.CodeOf(err) != transfer.CodeInvalid {
			t.Errorf("%s: got %q, %v; want %q", name, got, err, want)
		}
	}
}
