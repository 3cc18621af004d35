package sandbox

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestServerCloneHasClonesOfItsDrives(t *testing.T) {
	r, gate := newGatedRig(t)
	cd := r.standard("cd/")[0]
	data := noise(1<<20+1, 1)
	system, shared := r.create(int64(len(data))), r.create(4096)
	r.write(system, 0, data)
	r.post("/drives/"+system+"/set", "name system\ntags affinity:ssd x\nreaders "+anyID)
	r.post("/drives/"+shared+"/set", "name shared\nclaim:type shared")
	src := r.createServer("ide:0:0 " + system + "\nblock:1 " + shared + "\nide:1:0 " + cd + "\nide:1:0:media cdrom\n" +
		"boot block:1 ide:0:0\nnic:0:dhcp 203.0.113.5\nnic:0:model virtio\nnic:1:vlan " + anyID +
		"\nnic:1:mac 02:00:00:00:00:01\nvnc:ip auto\nvnc:password x\nuse web\nuser:a b\n")
	before := r.server(src)
	in := "name copy\ncpu 2000\nide:0:0 " + shared + "\nunknown x"
	o := r.post("/servers/"+src+"/clone", in)
	id := value(o, "server")
	for _, p := range (object{
		{"name", "copy"}, {"cpu", "2000"}, {"mem", "512"}, {"boot", "block:1 ide:0:0"}, {"status", "imaging"},
		{"nic:0:dhcp", "auto"}, {"nic:0:model", "virtio"}, {"nic:1:vlan", anyID}, {"nic:1:mac", ""}, {"use", "web"},
		{"user:a", "b"}, {"vnc:ip", "auto"}, {"vnc:password", "x"}, {"ide:1:0", cd}, {"ide:1:0:media", "cdrom"},
	}) {
		if got := value(o, p.key); got != p.value {
			t.Errorf("got %s %q, want %q", p.key, got, p.value)
		}
	}
	copies := []string{value(o, "ide:0:0"), value(o, "block:1")}
	for _, drive := range copies {
		if slices.Contains([]string{system, shared, ""}, drive) {
			t.Errorf("got drive %s, want a new one", drive)
		}
		gate.awaitReached(t)
		contains(t, r.want(409, "POST", "/servers/"+id+"/start", nil).body, "currently in use")
		if o := r.server(id); value(o, "status") != serverImaging {
			t.Errorf("got %v, want status imaging", o)
		}
		gate.pass <- struct{}{}
	}
	first, second := r.awaitImaged(copies[0]), r.awaitImaged(copies[1])
	if value(first, "name") != "system" || value(first, "tags") != "affinity:ssd x" || value(first, "readers") != "" ||
		value(first, "claim:type") != "exclusive" || value(second, "claim:type") != "shared" {
		t.Errorf("got the drives %v and %v, want their names, tags and claim types", first, second)
	}
	equal(t, r.read(copies[0], 0, int64(len(data))), data)
	if o := r.server(id); value(o, "status") != serverStopped {
		t.Errorf("got %v, want it stopped", o)
	}
	if after := r.server(src); !slices.Equal(after, before) {
		t.Errorf("got the source %v, want it unchanged, %v", after, before)
	}
	r.want(200, "POST", "/servers/start", []byte("server:0 "+src+"\nserver:1 "+id))
}

func TestServerCloneKeepsTheNameWithoutOne(t *testing.T) {
	r := newRig(t)
	id := r.createServer("status active\n")
	if o := r.post("/servers/"+id+"/clone", ""); value(o, "name") != "test" || value(o, "status") != serverStopped {
		t.Errorf("got %v, want the name test, and it stopped", o)
	}
	contains(t, r.want(400, "POST", "/servers/"+id+"/clone", []byte("name\ncpu x")).body, "errors:name", "errors:cpu")
}

// TestRefusedServerCloneMakesNothing: one of the drives cannot be cloned.
func TestRefusedServerCloneMakesNothing(t *testing.T) {
	r := newRig(t)
	free, busy, gone := r.create(4096), r.create(4096), r.create(4096)
	withGone := r.createServer("ide:0:0 " + free + "\nide:0:1 " + gone + "\n")
	withBusy := r.createServer("ide:0:0 " + free + "\nide:0:1 " + busy + "\n")
	r.want(204, "POST", "/drives/"+gone+"/destroy", nil)
	r.createServer("ide:0:0 " + busy + "\nstatus active\n")
	contains(t, r.want(400, "POST", "/servers/"+withGone+"/clone", []byte("name x")).body,
		"errors:ide:0:1 Drive "+gone+" could not be found.")
	contains(t, r.want(409, "POST", "/servers/"+withBusy+"/clone", []byte("name x")).body,
		"Drive "+busy+" is currently in use")
	if got := string(r.get("/drives/list").body); got != free+"\n"+busy+"\n" {
		t.Errorf("got the drives %q, want no clone", got)
	}
	if got := strings.Fields(string(r.get("/servers/list").body)); len(got) != 3 {
		t.Errorf("got %d servers, want 3", len(got))
	}
	files, err := os.ReadDir(r.s.drives.dir)
	if err != nil || len(files) != 4 {
		t.Errorf("got the files %v, %v; want those of two drives", files, err)
	}
	r.write(free, 0, []byte("x"))       // no claim is left
	if err := r.s.Close(); err != nil { // waits for no copy
		t.Error(err)
	}
}

func TestInterruptedServerCloneIsStopped(t *testing.T) {
	cfg := testConfig(t)
	r := serveRig(t, cfg)
	r.faults("imaging=1h")
	id := value(r.post("/servers/"+r.createServer("ide:0:0 "+r.create(1)+"\n")+"/clone", "name x"), "server")
	r.stop()
	r = serveRig(t, cfg)
	o := r.server(id)
	if value(o, "status") != serverStopped {
		t.Errorf("got %v, want it stopped", o)
	}
	contains(t, r.want(400, "POST", "/servers/"+id+"/start", nil).body, "inactive")
	r.want(204, "POST", "/drives/"+value(o, "ide:0:0")+"/destroy", nil)
}
