package image

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// flatVMDK writes a descriptor of a disk of 512 sectors in the file of this name.
func flatVMDK(t testing.TB, path, name string) string {
	t.Helper()
	return writeFile(t, path, fmt.Appendf(nil, "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\n"+
		"createType=\"monolithicFlat\"\nRW 512 FLAT %q 0\n", name))
}

// TestExtentsOfVMDKAreFollowed: the file of a flat extent is read with Follow only, from the image's
// own folder, and as the bytes that it has.
func TestExtentsOfVMDKAreFollowed(t *testing.T) {
	dir, outside := tempDir(t), tempDir(t)
	content := bytes.Repeat([]byte("QED\x00 bytes 123"), 512*512)[:512*512]
	for _, folder := range []string{dir, outside} {
		writeFile(t, folder+"/disk-flat.vmdk", content)
	}
	copy(content, "data")
	writeFile(t, dir+"/other-flat.vmdk", content)
	path := flatVMDK(t, dir+"/other.vmdk", "other-flat.vmdk")
	if got, err := read(t, opener(t, path, Options{Roots: anywhere, Follow: true})); err != nil ||
		!bytes.Equal(got, content) {
		t.Errorf("got %d bytes, %v; want the disk", len(got), err)
	}
	_, err := Open(t.Context(), path, Options{Roots: anywhere})
	expect(t, err, transfer.CodeInvalid, `"other-flat.vmdk"`, "--follow")
	// The content of the whole disk is checked as that of any image.
	_, err = Open(t.Context(), flatVMDK(t, dir+"/disk.vmdk", "disk-flat.vmdk"), Options{Roots: anywhere, Follow: true})
	expect(t, err, transfer.CodeInvalid, "a VMDK image with a QED image in it")
	for _, name := range []string{
		"../" + filepath.Base(outside) + "/disk-flat.vmdk", outside + "/disk-flat.vmdk", "../../../etc/passwd",
		"/etc/passwd", "/dev/zero",
	} {
		path := flatVMDK(t, dir+"/far.vmdk", name)
		for _, follow := range []bool{false, true} {
			_, err := Open(t.Context(), path, Options{Roots: anywhere, Follow: follow})
			expect(t, err, transfer.CodeInvalid, fmt.Sprintf("%q", name), "qemu-img convert", "--format raw")
		}
	}
	_, err = Open(t.Context(), flatVMDK(t, dir+"/gone.vmdk", "gone-flat.vmdk"), Options{Roots: anywhere, Follow: true})
	expect(t, err, transfer.CodeNotFound, "gone-flat.vmdk")
}

// TestRefusedVMDKNamesTheCommand: a disk that is split, belongs to a server, or needs a parent.
func TestRefusedVMDKNamesTheCommand(t *testing.T) {
	const begin = "# Disk DescriptorFile\nversion=1\nCID=1\n"
	for text, words := range map[string]string{
		begin + "parentCID=ffffffff\ncreateType=\"twoGbMaxExtentFlat\"\nRW 1 FLAT \"a-f1.vmdk\" 0":   "twoGbMaxExtent",
		begin + "parentCID=ffffffff\ncreateType=\"vmfs\"\nRW 1 VMFS \"a-flat.vmdk\"":                 "vmfs",
		begin + "parentCID=12345678\ncreateType=\"monolithicSparse\"\nparentFileNameHint=\"b.vmdk\"": "b.vmdk",
	} {
		_, err := Open(t.Context(), tempFile(t, "x.vmdk", []byte(text)), Options{Roots: anywhere, Follow: true})
		expect(t, err, transfer.CodeInvalid, "a VMDK image", words, "qemu-img convert -O raw", "--format raw")
	}
	for _, magic := range []string{"COWD", "\xbe\xba\xfe\xca\x00\x00\x00\x00"} {
		path := tempFile(t, "x.vmdk", []byte(magic+strings.Repeat("\x00", 2000)))
		_, err := Open(t.Context(), path, Options{Roots: anywhere})
		expect(t, err, transfer.CodeInvalid, "a sparse VMDK image of ESX", "qemu-img convert -O raw", "--format raw")
	}
}
