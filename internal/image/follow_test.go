package image

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
)

// overlay writes an image whose content is that of the backing file of this name.
func overlay(t testing.TB, path, backing string) string {
	t.Helper()
	return writeFile(t, path, transfertest.Qcow2(make([]byte, len(diskContent())), backing))
}

// TestFollowedFilesAreInTheImagesFolder: with Follow, files in the image's own folder are read, and
// nothing else is opened. Without it, none is. The name of each file that is not read is shown.
func TestFollowedFilesAreInTheImagesFolder(t *testing.T) {
	outside := tempDir(t)
	dir := tempDir(t)
	base := transfertest.Qcow2(diskContent(), "")
	for _, path := range []string{outside + "/base.qcow2", dir + "/base.qcow2", dir + "/a b.qcow2", dir + "/nbd:x"} {
		writeFile(t, path, base)
	}
	writeFile(t, dir+"/raw.img", diskContent())
	writeFile(t, dir+"/gz.img", gzipped(t, diskContent()))
	for _, err := range []error{
		os.Mkdir(dir+"/sub", 0o700), os.Symlink("base.qcow2", dir+"/inside"),
		os.Symlink(outside+"/base.qcow2", dir+"/out"),
		os.Symlink("../../"+filepath.Base(outside)+"/base.qcow2", dir+"/sub/out"), unix.Mkfifo(dir+"/pipe", 0o600),
		os.Symlink(outside, dir+"/linked"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, dir+"/sub/base.qcow2", base)
	overlay(t, dir+"/sub/top.qcow2", "base.qcow2")
	const notInFolder, noPath = "not in the image's own folder", "no path"
	for name, refusal := range map[string]string{
		"base.qcow2": "", "./base.qcow2": "", dir + "/base.qcow2": "", "a b.qcow2": "", "raw.img": "", "inside": "",
		"sub/base.qcow2": "", "sub/top.qcow2": "", dir + "//base.qcow2": "",

		"/etc/passwd": notInFolder, outside + "/base.qcow2": notInFolder, "out": notInFolder, "sub/out": notInFolder,
		"linked/base.qcow2": notInFolder, "../" + filepath.Base(outside) + "/base.qcow2": notInFolder,
		"../" + filepath.Base(dir) + "/base.qcow2": notInFolder, "sub/../base.qcow2": notInFolder,
		dir + "/../" + filepath.Base(dir) + "/base.qcow2": notInFolder, "..": notInFolder, "/": notInFolder,

		"nbd:x": noPath, "nbd://host/x": noPath, "https://host/base.qcow2": noPath, "file:base.qcow2": noPath,
		`json:{"driver":"qcow2","file":{"driver":"file","filename":"/etc/passwd"}}`: noPath, "fat:rw:/etc": noPath,
		"base\x00.qcow2": noPath, "host_device:/dev/sda": noPath,

		"/dev/null": notInFolder, "pipe": "no regular file", "sub": "no regular file", ".": "no regular file",
		"none.qcow2": "check the path", "gz.img": "a gzip file",
	} {
		path := overlay(t, dir+"/top.qcow2", name)
		_, err := Open(t.Context(), path, Options{Roots: anywhere})
		expect(t, err, transfer.CodeInvalid, fmt.Sprintf("%q", name), "--follow")
		expect(t, Check(path, Options{}), transfer.CodeInvalid, "--follow")

		got, err := read(t, opener(t, path, Options{Roots: anywhere, Follow: true}))
		checked := Check(path, Options{Follow: true})
		if refusal == "" {
			if err != nil || checked != nil || !bytes.Equal(got, diskContent()) {
				t.Errorf("%q: got %d bytes, %v, %v; want the disk", name, len(got), err, checked)
			}
			continue
		}
		if err == nil || checked == nil {
			t.Errorf("%q: got success, want a refusal", name)
			continue
		}
		code := transfer.CodeInvalid
		if name == "none.qcow2" {
			code = transfer.CodeNotFound
		}
		expect(t, err, code, refusal)
	}
}

// TestRefusedNamesAreShown: also with Follow the error has the name as in the image.
func TestRefusedNamesAreShown(t *testing.T) {
	path := overlay(t, tempDir(t)+"/top.qcow2", "/etc/passwd")
	_, err := Open(t.Context(), path, Options{Roots: anywhere, Follow: true})
	expect(t, err, transfer.CodeInvalid, `"/etc/passwd"`, "qemu-img convert", "--format raw")
	if got, err := read(t, opener(t, path, Options{Roots: anywhere, Format: transfer.FormatRaw})); err != nil {
		t.Errorf("as raw: got %d bytes, %v; want the file", len(got), err)
	}
}

// TestFollowedFilesAreBelowTheRoots: a root may be a single file.
func TestFollowedFilesAreBelowTheRoots(t *testing.T) {
	dir := tempDir(t)
	writeFile(t, dir+"/base.qcow2", transfertest.Qcow2(diskContent(), ""))
	top := overlay(t, dir+"/top.qcow2", "base.qcow2")
	_, err := Open(t.Context(), top, Options{Roots: Roots{top}, Follow: true})
	expect(t, err, transfer.CodeForbidden, "base.qcow2", "roots")
	closed(t, open(t, top, Options{Follow: true}))
}

// TestChainsAreBounded: an image may follow 16 files in a row, and no more. A circle is such a row.
func TestChainsAreBounded(t *testing.T) {
	dir := tempDir(t)
	at := func(i int) string { return fmt.Sprintf("%s/%d.qcow2", dir, i) }
	writeFile(t, at(0), transfertest.Qcow2(diskContent(), ""))
	for i := 1; i <= maxDepth+1; i++ {
		overlay(t, at(i), filepath.Base(at(i-1)))
	}
	if got, err := read(t, opener(t, at(maxDepth), Options{Roots: anywhere, Follow: true})); err != nil ||
		!bytes.Equal(got, diskContent()) {
		t.Errorf("16 backing files: got %d bytes, %v; want the disk", len(got), err)
	}
	before := openFiles(t)
	for _, path := range []string{
		at(maxDepth + 1), overlay(t, dir+"/self.qcow2", "self.qcow2"), overlay(t, dir+"/a.qcow2", "b.qcow2"),
		overlay(t, dir+"/b.qcow2", "a.qcow2"),
	} {
		_, err := Open(t.Context(), path, Options{Roots: anywhere, Follow: true})
		expect(t, err, transfer.CodeInvalid, "more than 16 files", ".qcow2")
	}
	if after := openFiles(t); after != before {
		t.Errorf("got %d open files, want %d", after, before)
	}
}

func openFiles(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// TestURLsFollowNothing: what an image behind a URL names is not opened, on neither host.
func TestURLsFollowNothing(t *testing.T) {
	dir := tempDir(t)
	base := writeFile(t, dir+"/base.qcow2", transfertest.Qcow2(diskContent(), ""))
	for _, name := range []string{base, "base.qcow2"} {
		url := serve(t, transfertest.Qcow2(diskContent(), name), true) + "/x.qcow2"
		_, err := Open(t.Context(), url, Options{Roots: anywhere, Follow: true})
		expect(t, err, transfer.CodeInvalid, fmt.Sprintf("%q", name), "fetch both")
	}
}
