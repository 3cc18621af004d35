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
	o := r.post("/drives/create", "name Größe: 1\nsize 3145729\ntags a b\nclaim:type shared\nencryption:cipher none\nreaders "+anyID+"\nuse u v")
	id := value(o, "drive")
	r.post("/drives/"+id+"/set", "user:a b c")
	r.write(id, 0, data)
	before, profile := r.info(id), r.get("/profile/info").body
	r.stop()
	r = serveRig(t, cfg)
	after := r.info(id)
	counters := func(p pair) bool { return strings.HasPrefix(p.key, "read:") || strings.HasPrefix(p.key, "write:") }
	before, after = slices.DeleteFunc(before, counters), slices.DeleteFunc(after, counters)
	if !slices.Equal(before, after) {
		t.Errorf("%v became %v", before, after)
	}
	equal(t, r.get("/profile/info").body, profile)
	equal(t, r.read(id, 0, size), data)
}

func TestStartAfterACrash(t *testing.T) {
	cfg := testConfig(t)
	r := serveRig(t, cfg)
	ids := []string{r.create(4096), r.create(4096), r.create(4096), r.create(4096), r.create(4096)}
	r.write(ids[4], 0, noise(4096, 1))
	r.stop()
	drives := filepath.Join(cfg.Dir, "drives")
	edit := func(id string, change func(string) string) {
		t.Helper()
		path := filepath.Join(drives, id+metaSuffix)
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
	must(os.Remove(filepath.Join(drives, ids[0]+metaSuffix)))                                      // in create or destroy
	must(os.Truncate(filepath.Join(drives, ids[1]+dataSuffix), 4095))                              // lost bytes
	must(os.Remove(filepath.Join(drives, ids[2]+dataSuffix)))                                      // lost file
	edit(ids[3], func(s string) string { return strings.Replace(s, " active", " copying", 1) })    // in clone
	edit(ids[4], func(s string) string { return strings.Replace(s, "size 4096", "size 1000", 1) }) // in a shrinking set
	must(os.WriteFile(filepath.Join(drives, temporary+"1"), []byte("x"), 0o600))
	must(os.WriteFile(filepath.Join(drives, "README"), []byte("not ours"), 0o600))

	r = serveRig(t, cfg)
	if got, want := strings.Fields(string(r.get("/drives/list").body)), ids[1:]; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for _, id := range ids[1:4] {
		if got := value(r.info(id), "status"); got != "inactive" {
			t.Errorf("%s is %s", id, got)
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
	want := []string{"README", ids[4] + metaSuffix, ids[4] + dataSuffix}
	slices.Sort(names)
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Errorf("%v, want %v", names, want)
	}
}

func TestUnreadableDescriptionIsNamed(t *testing.T) {
	cfg := testConfig(t)
	r := serveRig(t, cfg)
	id := r.create(1)
	r.stop()
	if err := os.WriteFile(filepath.Join(cfg.Dir, "drives", id+metaSuffix), []byte("name x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := New(cfg); err == nil || !strings.Contains(err.Error(), id) {
		t.Errorf("%v, %v", s, err)
	}
}
