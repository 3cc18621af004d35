package sandbox

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

func TestCreateRespondsWithTheNewDrive(t *testing.T) {
	r := newRig(t)
	o := r.post("/drives/create", "name My drive: 1\nsize 5000001\ntags a:b  affinity:ssd\nuse db,web\n"+
		"driveType hdd\nstatus stopped\ntier x")
	for key, want := range map[string]string{
		"name": "My drive: 1", "size": "5000001", "status": "active", "type": "disk", "claim:type": "exclusive",
		"tags": "a:b affinity:ssd", "use": "db,web", "encryption:cipher": "aes-xts-plain",
	} {
		if got := value(o, key); got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
	for _, p := range o {
		internal := p.key == "claimed" || p.key == "imaging" || strings.HasPrefix(p.key, "sandbox")
		if p.value == "" || internal {
			t.Errorf("got %q %q, want neither an empty value nor this key", p.key, p.value)
		}
	}
	if got := r.info(value(o, "drive")); !slices.Equal(got, o) {
		t.Errorf("info: got %v, want %v", got, o)
	}
	ssd := r.post("/drives/create", "name x\nsize 1\ndriveType ssd\nclaim:type shared\nencryption:cipher none\n"+
		"readers "+strings.ToUpper(anyID))
	for key, want := range map[string]string{
		"tags": tagSSD, "claim:type": "shared", "encryption:cipher": "none", "readers": anyID,
	} {
		if got := value(ssd, key); got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
}

func TestBadCreateMakesNoDrive(t *testing.T) {
	r := newRig(t)
	for in, keys := range map[string][]string{
		"":                             {"errors:name ", "errors:size "},
		"name x":                       {"name x\n", "errors:size "},
		"size 1":                       {"size 1\n", "errors:name "},
		"name \nsize 1":                {"errors:name "},
		"name\nsize":                   {"errors:name ", "errors:size "},
		"name x\nsize 0":               {"errors:size "},
		"name x\nsize 1.5G":            {"errors:size ", "size 1.5G\n"},
		"name x\nsize -1":              {"errors:size "},
		"name x\nsize 1024T":           {"errors:size "},
		"name x\nsize 99999999999T":    {"errors:size "},
		"name a\x01b\nsize 1":          {"errors:name "},
		"name a\rb\nsize 1":            {"errors:name "},
		"name x\nsize 1\nreaders me":   {"errors:readers "},
		"name x\nsize 1\nclaim:type z": {"errors:claim:type "},
		"name x\nsize 1\nencryption:cipher rot13": {"errors:encryption:cipher "},
	} {
		a := r.want(400, "POST", "/drives/create", []byte(in))
		contains(t, a.body, keys...)
		if got := strings.Count(string(a.body), "errors:"); got != strings.Count(strings.Join(keys, ""), "errors:") {
			t.Errorf("%q: got %q, want no errors but %q", in, a.body, keys)
		}
	}
	if got := r.get("/drives/list").body; len(got) != 0 {
		t.Errorf("got the drives %q, want none", got)
	}
	pad := strings.Repeat("x", maxInput-len("name x\nsize 1\n"))
	r.want(200, "POST", "/drives/create", []byte("name x\nsize 1\n"+pad))
	r.want(413, "POST", "/drives/create", []byte("name x\nsize 1\n"+pad+"x"))
}

func TestListsAreOldestFirst(t *testing.T) {
	cfg := testConfig(t)
	r := serveRig(t, cfg)
	if got := r.get("/drives/info").body; len(got) != 0 {
		t.Errorf("got %q, want no drives", got)
	}
	var ids []string
	for range 8 {
		ids = append(ids, r.create(1))
	}
	r.want(204, "POST", "/drives/"+ids[3]+"/destroy", nil)
	ids = slices.Delete(ids, 3, 4)
	check := func() {
		t.Helper()
		if got := strings.Fields(string(r.get("/drives/list").body)); !slices.Equal(got, ids) {
			t.Errorf("list: got %v, want %v", got, ids)
		}
		objects := strings.Split(string(r.get("/drives/info").body), "\n\n")
		if len(objects) != len(ids) {
			t.Fatalf("got %d objects, want %d", len(objects), len(ids))
		}
		for i, text := range objects {
			if got := value(decode([]byte(text)), "drive"); got != ids[i] {
				t.Errorf("object %d: got %s, want %s", i, got, ids[i])
			}
		}
	}
	check()
	r.stop()
	r = serveRig(t, cfg)
	check()
	ids = append(ids, r.create(1))
	check()
}

func TestSetChangesTheGivenKeys(t *testing.T) {
	r := newRig(t)
	id := r.create(100 << 10)
	data := noise(100<<10, 1)
	r.write(id, 0, data)
	path := "/drives/" + id + "/set"
	o := r.post(path, "user:colour dark blue\r\ntags one two\r\nunknown 1\r\nuser: x\r\n")
	if value(o, "user:colour") != "dark blue" || value(o, "tags") != "one two" || value(o, "name") != "test" {
		t.Errorf("got %v, want the new keys, and the old name", o)
	}
	o = r.post(path, "user:colour \ntags\nname new name\nreaders ffffffff-ffff-ffff-ffff-ffffffffffff\nuse x\n"+
		"encryption:cipher none")
	for key, want := range map[string]string{
		"user:colour": "", "tags": "", "name": "new name", "use": "x", "size": "102400",
		"encryption:cipher": "aes-xts-plain", "readers": "ffffffff-ffff-ffff-ffff-ffffffffffff",
	} {
		if got := value(o, key); got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
	for in, key := range map[string]string{
		"name ": "errors:name", "size 0": "errors:size", "size x": "errors:size",
		"claim:type x": "errors:claim:type", "name changed\nsize -1": "errors:size",
		"user:a\x02 b\nuser:c \x02": "errors:user:c",
	} {
		contains(t, r.want(400, "POST", path, []byte(in)).body, key)
	}
	if got := r.info(id); value(got, "name") != "new name" {
		t.Errorf("after refused changes: got %v, want the name of before", got)
	}
	if got := value(r.post(path, "size 50001"), "size"); got != "50001" {
		t.Errorf("got size %s, want 50001", got)
	}
	r.want(400, "GET", "/drives/"+id+"/read/50000/2", nil)
	if got := value(r.post(path, "size 200k"), "size"); got != "204800" {
		t.Errorf("got size %s, want 204800", got)
	}
	equal(t, r.read(id, 0, 200<<10), concat(data[:50001], make([]byte, 200<<10-50001)))
}

func TestSetLimitsTheDescription(t *testing.T) {
	r := newRig(t)
	path := "/drives/" + r.create(1) + "/set"
	long := strings.Repeat("x", 30<<10)
	r.post(path, "user:a "+long)
	r.post(path, "user:b "+long)
	r.want(400, "POST", path, []byte("user:c "+long))
	r.post(path, "user:a \nuser:c "+long)
}

func TestDestroyedDriveIsNotFound(t *testing.T) {
	r := newRig(t)
	id := r.create(4096)
	a := r.want(204, "POST", "/drives/"+id+"/destroy", []byte("drives/"+id+"/destroy\n"), "Content-Type", "header")
	if len(a.body) != 0 {
		t.Errorf("got the body %q with 204, want none", a.body)
	}
	for _, path := range []string{"info", "destroy", "read/0/1"} {
		r.want(404, "GET", "/drives/"+id+"/"+path, nil)
	}
	r.want(404, "POST", "/drives/"+id+"/write", []byte("x"))
	if got := r.get("/drives/list").body; len(got) != 0 {
		t.Errorf("got the drives %q, want none", got)
	}
}

func TestCommandsRunInParallel(t *testing.T) {
	r := newRig(t)
	var group sync.WaitGroup
	for i := range uint64(8) {
		group.Go(func() {
			id := r.create(1 << 20)
			data := noise(300<<10, i)
			r.write(id, 5, data)
			r.post("/drives/"+id+"/set", "name "+strconv.FormatUint(i, 10))
			r.get("/drives/info")
			equal(t, r.read(id, 5, int64(len(data))), data)
			r.want(204, "POST", "/drives/"+id+"/destroy", nil)
		})
	}
	group.Wait()
	if got := r.get("/drives/list").body; len(got) != 0 {
		t.Errorf("got the drives %q, want none", got)
	}
}
