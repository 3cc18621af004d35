package image

import (
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// TestFormatFollowsFromTheName: the ending of the name decides the format. A format that is not
// written is refused, and so is an ending that contradicts the requested format.
func TestFormatFollowsFromTheName(t *testing.T) {
	for name, want := range map[string]transfer.Format{
		"/a/disk": transfer.FormatRaw, "/a/disk.img": transfer.FormatRaw, "/a.qcow2/disk.raw": transfer.FormatRaw,
		"/dev/sdb": transfer.FormatRaw, "/a/disk.img.gz": transfer.FormatGzip, "/a/DISK.GZ": transfer.FormatGzip,
		"/a/disk.zst": transfer.FormatZstd, "/a/disk.raw.zst": transfer.FormatZstd, "-": transfer.FormatRaw,
		"/a/disk.qcow2": transfer.FormatQcow2,
		"/a/disk.VMDK":  "", "/a/disk.vhd": "", "/a/disk.img.xz": "",
		"/a/disk.bz2": "", "/a/disk.ova": "", "/a/disk.qcow2.gz": "", "/a/disk.vmdk.zst": "", "/a/disk.gz.zst": "",
		"/a/disk.tar.gz": "",
	} {
		expectFormat(t, name, "", want)
	}
	for _, requested := range []transfer.Format{
		transfer.FormatRaw, transfer.FormatGzip, transfer.FormatZstd, transfer.FormatQcow2,
	} {
		for name, want := range map[string]transfer.Format{
			"/a/disk": requested, "/a/disk.img": requested, "/dev/sdb": requested, "-": requested,
			"/a/disk.1":   requested,
			"/a/disk.raw": transfer.FormatRaw, "/a/disk.gz": transfer.FormatGzip, "/a/disk.ZST": transfer.FormatZstd,
			"/a/disk.qcow2": transfer.FormatQcow2, "/a/disk.vmdk": "", "/a/disk.xz": "", "/a/disk.tar": "",
		} {
			if want != requested {
				want = ""
			}
			expectFormat(t, name, requested, want)
		}
	}
}

// TestNamesOfDrivesHaveNoEndings: all endings of formats are left out, and no others.
func TestNamesOfDrivesHaveNoEndings(t *testing.T) {
	for name, want := range map[string]string{
		"disk.img": "disk", "disk.raw.gz": "disk", "web.vmdk": "web", "web.QCOW2.xz": "web", "vm.ova": "vm",
		"vm.tar.gz": "vm", "vm.tgz": "vm", "debian-13.1.iso": "debian-13.1", "disk.bz2": "disk",
		"disk.v2": "disk.v2", "disk": "disk", ".img": "", "a.b.vhdx": "a.b",
	} {
		if got := WithoutEndings(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

// expectFormat checks the format for a new image; want is empty for a refusal.
func expectFormat(t *testing.T, name string, requested, want transfer.Format) {
	t.Helper()
	got, err := FormatOfName(name, requested)
	if got != want || (err == nil) != (want != "") || err != nil && transfer.CodeOf(err) != transfer.CodeInvalid {
		t.Errorf("%s as %q: got %q, %v; want %q", name, requested, got, err, want)
	}
}
