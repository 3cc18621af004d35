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

// TestNamesOfDrivesHaveNoEndings: all endings of formats are left out, and no others.
func TestNamesOfDrivesHaveNoEndings(t *testing.T) {
	for name, want := range map[string]string{
		"disk.img": "disk", "disk.raw.gz": "disk", "web.vmdk": "web", "web.QCOW2.xz": "web", "vm.ova": "vm",
		"vm.tar.gz": "vm",
		"vm.tgz":    "vm", "debian-13.1.iso": "debian-13.1", "disk.bz2": "disk", "disk.v2": "disk.v2", "disk": "disk",
		".img": "", "a.b.vhdx": "a.b",
	} {
		if got := WithoutEndings(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}
