package sandbox

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestLibraryDrivesAreFiles(t *testing.T) {
	cfg := testConfig(t)
	r := serveRig(t, cfg)
	removeGenerated(t, cfg.Dir)
	data := noise(100_001, 1)
	put := func(path string, p []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(cfg.Dir, "standard", path), p, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("img/debian-12.img", data)
	put("img/debian-12.img.info", []byte("description Debian\nos linux\nbits 32\nlicenses a b\nuse db,web\nsize 1\n"))
	put("cd/install.iso", data[:5000])
	put("cd/.hidden", data)
	put("cd/empty", nil)
	img, cd, all := r.standard("img/"), r.standard("cd/"), r.standard("")
	if len(img) != 1 || len(cd) != 1 || !slices.Equal(all, append(slices.Clone(img), cd...)) {
		t.Fatalf("got images %v, CDs %v, both %v; want one each, and both", img, cd, all)
	}
	if got := r.get("/drives/list").body; len(got) != 0 {
		t.Errorf("got the account's drives %q, want none", got)
	}
	o := r.info(img[0])
	for key, want := range map[string]string{
		"name": "debian-12", "size": "100001", "type": "disk", "drive_type": "preinstalled", "user": libraryUser,
		"os": "linux", "bits": "32", "description": "Debian", "status": "active", "use": "db,web", "claimed": "",
	} {
		if got := value(o, key); got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
	for _, path := range []string{"/drives/standard/img/" + img[0] + "/info", "/drives/standard/img/info"} {
		if got := decode(r.get(path).body); !slices.Equal(got, o) {
			t.Errorf("%s: got %v, want %v", path, got, o)
		}
	}
	o = r.info(cd[0])
	if value(o, "type") != "cdrom" || value(o, "drive_type") != "installcd" || value(o, "name") != "install" {
		t.Errorf("got %v, want the CD install", o)
	}
	for _, path := range []string{"/drives/standard/cd/" + cd[0] + "/info", "/drives/standard/cd/info"} {
		if got := decode(r.get(path).body); !slices.Equal(got, o) {
			t.Errorf("%s: got %v, want %v", path, got, o)
		}
	}
	r.want(404, "GET", "/drives/standard/cd/"+img[0]+"/info", nil)
	for command, body := range map[string]string{"write": "x", "set": "name x", "destroy": ""} {
		r.want(404, "POST", "/drives/"+img[0]+"/"+command, []byte(body))
	}
	equal(t, r.read(img[0], 0, 100_001), data)
	o = r.awaitImaged(value(r.post("/drives/"+img[0]+"/clone", "name mine"), "drive"))
	for key, want := range map[string]string{
		"os": "linux", "bits": "32", "description": "Debian", "licenses": "a b", "use": "db,web", "type": "disk",
		"claim:type": "exclusive", "drive_type": "", "free": "",
	} {
		if got := value(o, key); got != want {
			t.Errorf("clone, %s: got %q, want %q", key, got, want)
		}
	}
	equal(t, r.read(value(o, "drive"), 0, 100_001), data)
	r.stop()
	r = serveRig(t, cfg)
	equal(t, r.read(img[0], 1, 100_000), data[1:]) // the same UUID, without a listing before
	if err := os.Remove(filepath.Join(cfg.Dir, "standard/img/debian-12.img")); err != nil {
		t.Fatal(err)
	}
	r.want(404, "GET", "/drives/"+img[0]+"/info", nil)
}

// TestLibraryUUIDsNeverChange: jobs, plans and scripts name standard drives by their UUIDs.
func TestLibraryUUIDsNeverChange(t *testing.T) {
	for name, want := range map[string]string{
		"standard/img/debian-12.img": "085c73a4-edf1-86e8-af1b-3ceded178d94",
		"standard/cd/install.iso":    "8752c334-3620-8bb9-adc8-bbde0c3ee1b3",
	} {
		if got := libraryID(name); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}
