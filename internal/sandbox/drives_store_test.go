package sandbox

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestDrivesSurviveARestart(t *testing.T) {
	cfg := testConfig(t)
	r := serveRig(t, cfg)
	const size = 3<<20 + 1
	data := noise(size, 1)
	o := r.post("/drives/create", "name Größe: 1\nsize 3145729\ntags a b\nclaim:type shared\n"+
		"encryption:cipher none\nreaders "+anyID+"\nuse u v")
	id := value(o, "drive")
	r.post("/drives/"+id+"/set", "user:a b c")
	r.write(id, 0, data)
	before, profile := r.info(id), r.get("/profile/info").body
	r.stop()
	r = serveRig(t, cfg)
	after := r.info(id)
	isCounter := func(p pair) bool { return strings.HasPrefix(p.key, "read:") || strings.HasPrefix(p.key, "write:") }
	before, after = slices.DeleteFunc(before, isCounter), slices.DeleteFunc(after, isCounter)
	if !slices.Equal(before, after) {
		t.Errorf("got %v after the restart, want %v", after, before)
	}
	equal(t, r.get("/profile/info").body, profile)
	equal(t, r.read(id, 0, size), data)
}

func TestStartAfterACrashDropsIncompleteDrives(t *testing.T) {
	cfg := testConfig(t)
	r := serveRig(t, cfg)
	ids := []string{r.create(4096), r.create(4096), r.create(4096), r.create(4096), r.create(4096)}
	r.write(ids[4], 0, noise(4096, 1))
	r.stop()
	drives := filepath.Join(cfg.Dir, "drives")
	edit := func(id string, change func(string) string) {
		t.Helper()
		path := filepath.Join(drives, id+".drive")
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(change(string(text))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	replace := func(old, text string) func(string) string {
		return func(s string) string { return strings.Replace(s, old, text, 1) }
	}
	must(os.Remove(filepath.Join(drives, ids[0]+".drive")))           // a crash in create or destroy
	must(os.Truncate(filepath.Join(drives, ids[1]+dataSuffix), 4095)) // lost bytes
	must(os.Remove(filepath.Join(drives, ids[2]+dataSuffix)))         // lost file
	edit(ids[3], replace(" active", " copying"))                      // a crash in clone
	edit(ids[4], replace("size 4096", "size 1000"))                   // a crash in a set that shrinks
	must(os.WriteFile(filepath.Join(drives, temporary+"1"), []byte("x"), 0o600))
	must(os.WriteFile(filepath.Join(drives, "README"), []byte("another file"), 0o600))

	r = serveRig(t, cfg)
	if got, want := strings.Fields(string(r.get("/drives/list").body)), ids[1:]; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, id := range ids[1:4] {
		if got := value(r.info(id), "status"); got != "inactive" {
			t.Errorf("%s: got status %s, want inactive", id, got)
		}
		r.want(204, "POST", "/drives/"+id+"/destroy", nil)
	}
	r.post("/drives/"+ids[4]+"/set", "size 4096")
	equal(t, r.read(ids[4], 0, 4096), concat(noise(4096, 1)[:1000], make([]byte, 3096)))
	entries, err := os.ReadDir(drives)
	must(err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	want := []string{"README", ids[4] + ".drive", ids[4] + dataSuffix}
	slices.Sort(names)
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
}

func TestUnreadableDescriptionIsNamed(t *testing.T) {
	cfg := testConfig(t)
	r := serveRig(t, cfg)
	id := r.create(1)
	r.stop()
	if err := os.WriteFile(filepath.Join(cfg.Dir, "drives", id+".drive"), []byte("name x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := New(cfg); err == nil || !strings.Contains(err.Error(), id) {
		t.Errorf("got %v, %v; want an error that names %s", s, err, id)
	}
}

// TestOldDescriptionsAreRead: the first version wrote the keys of a description in another order.
func TestOldDescriptionsAreRead(t *testing.T) {
	cfg := testConfig(t)
	drives := filepath.Join(cfg.Dir, "drives")
	if err := os.MkdirAll(drives, 0o700); err != nil {
		t.Fatal(err)
	}
	other := strings.Replace(anyID, "2e", "1e", 1)
	for id, serial := range map[string]string{anyID: "1", other: "12"} {
		text := "drive " + id + "\nname first\nsize 3\nstatus active\ntype disk\nsandbox:serial " + serial +
			"\nclaim:type shared\ntags a b\nencryption:cipher none\nuser:a b\n"
		for suffix, content := range map[string]string{".drive": text, ".raw": "abc"} {
			if err := os.WriteFile(filepath.Join(drives, id+suffix), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	r := serveRig(t, cfg)
	ids := strings.Fields(string(r.get("/drives/list").body))
	if want := []string{anyID, other}; !slices.Equal(ids, want) {
		t.Errorf("got %v, want %v", ids, want)
	}
	o := r.info(anyID)
	for key, want := range map[string]string{
		"name": "first", "size": "3", "status": "active", "claim:type": "shared", "tags": "a b",
		"encryption:cipher": "none", "user:a": "b",
	} {
		if got := value(o, key); got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
	equal(t, r.read(anyID, 0, 3), []byte("abc"))
}
