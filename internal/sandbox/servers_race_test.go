package sandbox

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// TestClientsShareOneServer runs 50 clients on one server and its drives at once, while its guest
// writes. No request fails, and in the end nothing is claimed that should not be.
func TestClientsShareOneServer(t *testing.T) {
	r := newRig(t, func(c *Config) { c.GuestWrites = 16 << 20 })
	r.faults("shutdown=1ms")
	r.http.Client().Transport.(*http.Transport).MaxIdleConnsPerHost = 50
	exclusive := r.create(1 << 20)
	shared := value(r.post("/drives/create", "name x\nsize 1M\nclaim:type shared"), "drive")
	attached := "ide:0:0 " + exclusive + "\nblock:0 " + shared + "\n"
	id := r.createServer(attached + "nic:0:dhcp auto\nvnc:ip auto\n")
	other := r.createServer(attached)
	one, all := "/servers/"+id+"/", "server:0 "+id+"\nserver:1 "+other
	requests := []struct{ path, input string }{
		{one + "start", ""}, {one + "stop", ""}, {one + "shutdown", ""}, {one + "reset", ""}, {one + "info", ""},
		{one + "set", "name y\ncpu 2000"}, {one + "set", "cpu 1000"}, {one + "clone", "name z"}, {one + "start", ""},
		{"/servers/" + other + "/start", ""}, {"/servers/" + other + "/destroy", ""}, {"/servers/info", ""},
		{"/servers/start", all}, {"/servers/stop", all}, {"/servers/create", minimal + "status active\n" + attached},
		{"/drives/" + exclusive + "/write/4096", "x"}, {"/drives/" + exclusive + "/read/0/1M", ""},
		{"/drives/" + exclusive + "/set", "size 2M"}, {"/drives/" + exclusive + "/set", "name x\nsize 1M"},
		{"/drives/" + exclusive + "/clone", "name c"}, {"/drives/" + shared + "/clone", "name c"},
		{"/drives/" + shared + "/write", "x"}, {"/drives/" + shared + "/read/0/1M", ""}, {"/drives/info", ""},
	}
	expected := []int{200, 204, 400, 404, 409}
	var group sync.WaitGroup
	for client := range 50 {
		group.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(client)))
			for range 20 {
				q := requests[random.IntN(len(requests))]
				a, err := r.try(r.request("POST", q.path, strings.NewReader(q.input)))
				if err != nil || !slices.Contains(expected, a.status) {
					t.Errorf("%s: got %d %q, %v", q.path, a.status, a.body, err)
				}
			}
		})
	}
	group.Wait()
	stopAll(r)
	for drive := range strings.Lines(string(r.get("/drives/list").body)) {
		if o := r.awaitImaged(strings.TrimSpace(drive)); value(o, "status") != "active" {
			t.Errorf("got %v, want it active", o)
		}
	}
	for _, drive := range []string{exclusive, shared} {
		if o := r.info(drive); value(o, "claimed") != "" {
			t.Errorf("got %v, want no claim", o)
		}
		r.write(drive, 0, []byte("x"))
	}
}

func stopAll(r *rig) {
	r.Helper()
	for id := range strings.Lines(string(r.get("/servers/list").body)) {
		r.want(204, "POST", "/servers/"+strings.TrimSpace(id)+"/stop", nil)
	}
}

// TestDriveIsFreeWhenItsServerStops: the moment that stop or destroy has answered, its drives can be
// written, resized and destroyed, although a guest wrote all the time.
func TestDriveIsFreeWhenItsServerStops(t *testing.T) {
	r := newRig(t, func(c *Config) { c.GuestWrites = 64 << 20 })
	for range 20 {
		drive := r.create(1 << 20)
		id := r.createServer("ide:0:0 " + drive + "\nstatus active\n")
		r.want(204, "POST", "/servers/"+id+"/stop", nil)
		data := noise(1<<20, 1)
		r.write(drive, 0, data)
		equal(t, r.read(drive, 0, 1<<20), data)
		r.want(204, "POST", "/servers/"+id+"/destroy", nil)
		r.want(204, "POST", "/drives/"+drive+"/destroy", nil)
	}
}
