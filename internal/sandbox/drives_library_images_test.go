package sandbox

import (
	"bytes"
	"encoding/binary"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/fat12"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"
	"github.com/diskfs/go-diskfs/partition/mbr"
)

// generatedPaths are the files of the generated images in a data folder.
func generatedPaths(dir string) (paths []string) {
	for _, g := range generatedImages() {
		paths = append(paths, filepath.Join(dir, "standard", string(g.medium), g.file))
	}
	return paths
}

// removeGenerated deletes the generated images, as an operator does.
func removeGenerated(t *testing.T, dir string) {
	t.Helper()
	for _, path := range generatedPaths(dir) {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFirstStartMakesALibrary(t *testing.T) {
	r := newRig(t)
	img, cd, all := r.standard("img/"), r.standard("cd/"), r.standard("")
	if len(img) < 2 || len(cd) < 2 || !slices.Equal(all, slices.Concat(img, cd)) {
		t.Fatalf("got images %v, CDs %v, both %v; want some of each, and both", img, cd, all)
	}
	for _, id := range img {
		if slices.Contains(cd, id) {
			t.Errorf("%s is an image and a CD, want one of them", id)
		}
	}
	for i, text := range strings.Split(string(r.get("/drives/standard/info").body), "\n\n") {
		o := decode([]byte(text))
		medium, kind, role := "img", "disk", "preinstalled"
		if i >= len(img) {
			medium, kind, role = "cd", "cdrom", "installcd"
		}
		for key, want := range map[string]string{
			"drive": all[i], "user": libraryUser, "type": kind, "status": "active", "size": "4194304",
			"claim:type": "shared",
		} {
			if got := value(o, key); got != want {
				t.Errorf("object %d, %s: got %q, want %q", i, key, got, want)
			}
		}
		if got := strings.Split(value(o, "drive_type"), ","); !slices.Contains(got, role) {
			t.Errorf("%s: got drive_type %v, want %s in it", all[i], got, role)
		}
		if bits, err := strconv.Atoi(value(o, "bits")); err != nil || bits != 32 && bits != 64 {
			t.Errorf("%s: got bits %q, want 32 or 64", all[i], value(o, "bits"))
		}
		for _, key := range []string{"name", "description", "os", "free", "url", "use"} {
			if value(o, key) == "" {
				t.Errorf("%s: got no %s, want one", all[i], key)
			}
		}
		checkScriptsReadIt(t, text)
		if got := decode(r.get("/drives/standard/" + medium + "/" + all[i] + "/info").body); !slices.Equal(got, o) {
			t.Errorf("info of %s: got %v, want %v", all[i], got, o)
		}
	}
}

// checkScriptsReadIt: scripts run grep for these words in the whole text of an object.
func checkScriptsReadIt(t *testing.T, text string) {
	t.Helper()
	for word, want := range map[string]int{"size": 1, "drive ": 1, "claimed ": 0, "imaging ": 0} {
		if got := strings.Count(text, word); got != want {
			t.Errorf("got %q %d times in %q, want %d", word, got, text, want)
		}
	}
}

// TestGeneratedImagesCanBoot reads the drives over HTTP and looks at what a BIOS reads, and at the
// file systems.
func TestGeneratedImagesCanBoot(t *testing.T) {
	r := newRig(t)
	for _, id := range r.standard("img/") {
		checkDisk(t, r.save(id))
	}
	for _, id := range r.standard("cd/") {
		checkCD(t, r.save(id))
	}
}

// save writes a drive into a file.
func (r *rig) save(id string) *os.File {
	r.Helper()
	size, err := strconv.ParseInt(value(r.info(id), "size"), 10, 64)
	if err != nil {
		r.Fatal(err)
	}
	f, err := os.Create(filepath.Join(r.TempDir(), id))
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = f.Close() })
	if _, err := f.Write(r.read(id, 0, size)); err != nil {
		r.Fatal(err)
	}
	return f
}

func checkDisk(t *testing.T, f *os.File) {
	t.Helper()
	storage := file.New(f, true)
	table, err := mbr.Read(storage, sectorSize, sectorSize)
	if err != nil {
		t.Fatal(err)
	}
	p := table.Partitions[0]
	if !p.Bootable || p.GetStart() != partitionStart || p.GetStart()+p.GetSize() != generatedSize {
		t.Errorf("got the partition %+v, want a bootable one at %d that ends at %d", p, partitionStart, generatedSize)
	}
	boot := make([]byte, 440)
	readAt(t, f, boot, 0)
	equal(t, boot, bootSector()[:440])
	volume, err := fat12.Read(storage, p.GetSize(), p.GetStart(), sectorSize)
	if err != nil {
		t.Fatal(err)
	}
	checkReadme(t, volume)
}

func checkCD(t *testing.T, f *os.File) {
	t.Helper()
	volume, err := iso9660.Read(file.New(f, true), generatedSize, 0, 2048)
	if err != nil {
		t.Fatal(err)
	}
	checkReadme(t, volume)
	record, catalog, boot := make([]byte, 2048), make([]byte, 64), make([]byte, sectorSize)
	readAt(t, f, record, 17*2048)
	if got := string(record[:39]); got != "\x00CD001\x01EL TORITO SPECIFICATION"+strings.Repeat("\x00", 9) {
		t.Fatalf("sector 17: got %q, want a boot record of El Torito", got)
	}
	readAt(t, f, catalog, 2048*int64(binary.LittleEndian.Uint32(record[71:])))
	var sum uint16
	for word := range slices.Chunk(catalog[:32], 2) {
		sum += binary.LittleEndian.Uint16(word)
	}
	if sum != 0 || catalog[0] != 1 || !bytes.Equal(catalog[30:32], []byte{0x55, 0xaa}) {
		t.Errorf("got the validation entry %x, want sum 0, header 01, key 55aa", catalog[:32])
	}
	if entry := catalog[32:]; entry[0] != 0x88 || entry[1] != 0 || binary.LittleEndian.Uint16(entry[6:]) != 1 {
		t.Errorf("got the entry %x, want one that boots one sector without emulation", entry)
	}
	readAt(t, f, boot, 2048*int64(binary.LittleEndian.Uint32(catalog[40:])))
	equal(t, boot, bootSector())
}

func readAt(t *testing.T, f io.ReaderAt, p []byte, off int64) {
	t.Helper()
	if _, err := f.ReadAt(p, off); err != nil {
		t.Fatal(err)
	}
}

func checkReadme(t *testing.T, volume fs.FS) {
	t.Helper()
	text, err := fs.ReadFile(volume, readmeName)
	if err != nil || string(text) != readmeText {
		t.Errorf("%s: got %q, %v; want %q", readmeName, text, err, readmeText)
	}
}

func TestLibraryCanBeCloned(t *testing.T) {
	r := newRig(t)
	for _, id := range r.standard("") {
		source := r.info(id)
		o := r.awaitImaged(value(r.post("/drives/"+id+"/clone", "name mine\nsize 10M\n"), "drive"))
		for _, key := range []string{"type", "os", "bits", "description", "install_notes", "licenses", "url", "use"} {
			if got, want := value(o, key), value(source, key); got != want {
				t.Errorf("clone of %s, %s: got %q, want %q", id, key, got, want)
			}
		}
		if got := value(o, "user"); got != r.s.account {
			t.Errorf("clone of %s: got the user %s, want %s", id, got, r.s.account)
		}
		want := append(r.read(id, 0, generatedSize), make([]byte, 6<<20)...)
		equal(t, r.read(value(o, "drive"), 0, 10<<20), want)
	}
}

func TestDeletedStandardDrivesStayDeleted(t *testing.T) {
	cfg := testConfig(t)
	r := serveRig(t, cfg)
	all := r.standard("")
	deleted := generatedPaths(cfg.Dir)[0]
	if err := os.Remove(deleted); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := r.standard(""); !slices.Equal(got, all[1:]) {
			t.Fatalf("got %v, want %v", got, all[1:])
		}
		r.stop()
		r = serveRig(t, cfg)
	}
}

func TestFilesOfTheOperatorStay(t *testing.T) {
	cfg := testConfig(t)
	paths := generatedPaths(cfg.Dir)
	dir := filepath.Dir(paths[0])
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(paths[0], []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	unfinished := filepath.Join(dir, temporary+"sandbox-windows-64.img") // of an interrupted start
	if err := os.WriteFile(unfinished, noise(5<<20, 1), 0o600); err != nil {
		t.Fatal(err)
	}
	r := serveRig(t, cfg)
	if n := len(r.standard("")); n != len(paths) {
		t.Errorf("got %d standard drives, want %d", n, len(paths))
	}
	id := libraryID("standard/img/" + filepath.Base(paths[0]))
	if o := r.info(id); value(o, "size") != "4" {
		t.Errorf("got %v, want the operator's file of 4 bytes", o)
	}
	other := r.standard("img/")[1]
	checkDisk(t, r.save(other))
	equal(t, r.read(other, 2<<20, 2<<20), make([]byte, 2<<20)) // nothing is left of the unfinished file
}

// TestInterruptedStartDoesNotPreventTheNextOne: it has made the images, and was making the first
// CD.
func TestInterruptedStartDoesNotPreventTheNextOne(t *testing.T) {
	cfg := testConfig(t)
	serveRig(t, cfg).stop()
	library := filepath.Join(cfg.Dir, "standard")
	for _, name := range []string{madeFile, "cd/sandbox-install.iso", "cd/sandbox-live.iso"} {
		if err := os.Remove(filepath.Join(library, name)); err != nil {
			t.Fatal(err)
		}
	}
	workspace := filepath.Join(library, temporary+"workspace")
	if err := os.MkdirAll(filepath.Join(workspace, "EFI"), 0o700); err != nil {
		t.Fatal(err)
	}
	if n := len(serveRig(t, cfg).standard("cd/")); n != 2 {
		t.Errorf("got %d CDs, want 2", n)
	}
	if _, err := os.Stat(workspace); !os.IsNotExist(err) {
		t.Errorf("the workspace: got %v, want that it does not exist", err)
	}
}

// TestReadOnlyLibraryIsServed: a folder whose files cannot be made, even by root, is no error.
func TestReadOnlyLibraryIsServed(t *testing.T) {
	cfg := testConfig(t)
	if err := os.MkdirAll(filepath.Join(cfg.Dir, "standard"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/sys/fs", filepath.Join(cfg.Dir, "standard", "img")); err != nil {
		t.Fatal(err)
	}
	r := serveRig(t, cfg)
	if img, cd := r.standard("img/"), r.standard("cd/"); len(img) != 0 || len(cd) != 2 {
		t.Errorf("got images %v, CDs %v; want only the CDs", img, cd)
	}
}
