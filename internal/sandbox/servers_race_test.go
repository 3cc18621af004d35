package sandbox

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// crowd is many clients of one server and its drives.
type crowd struct {
	*rig
	exclusive, shared string // drives
	server, other     string // which have both drives
	requests          []crowdRequest

	mu      sync.Mutex
	servers map[string]bool // that exist, by the responses
	drives  map[string]bool
}

type crowdRequest struct{ path, input string }

func newCrowd(r *rig) *crowd {
	c := &crowd{rig: r, servers: make(map[string]bool), drives: make(map[string]bool)}
	c.exclusive = r.create(1 << 20)
	c.shared = value(r.post("/drives/create", "name x\nsize 1M\nclaim:type shared"), "drive")
	attached := "ide:0:0 " + c.exclusive + "\nblock:0 " + c.shared + "\n"
	c.server, c.other = r.createServer(attached+"nic:0:dhcp auto\nvnc:ip auto\n"), r.createServer(attached)
	for _, id := range []string{c.server, c.other} {
		c.servers[id] = true
	}
	for _, id := range []string{c.exclusive, c.shared} {
		c.drives[id] = true
	}
	one, all := "/servers/"+c.server+"/", "server:0 "+c.server+"\nserver:1 "+c.other
	exclusive, shared := "/drives/"+c.exclusive+"/", "/drives/"+c.shared+"/"
	c.requests = []crowdRequest{
		{one + "start", ""}, {one + "stop", ""}, {one + "shutdown", ""}, {one + "reset", ""}, {one + "info", ""},
		{one + "set", "name y\ncpu 2000"}, {one + "set", "cpu 1000"}, {one + "clone", "name z"}, {one + "start", ""},
		{"/servers/" + c.other + "/start", ""}, {"/servers/" + c.other + "/stop", ""}, {"/servers/info", ""},
		{"/servers/start", all}, {"/servers/stop", all}, {"/servers/create", minimal + "status active\n" + attached},
		{exclusive + "write/4096", "x"}, {exclusive + "read/0/1M", ""}, {exclusive + "destroy", ""},
		{exclusive + "set", "size 2M"}, {exclusive + "set", "name x\nsize 1M"}, {exclusive + "info", ""},
		{exclusive + "clone", "name c"}, {shared + "clone", "name c"},
		{shared + "write", "x"}, {shared + "read/0/1M", ""}, {"/drives/info", ""}, {"/drives/info", ""},
	}
	return c
}

// client sends requests at random, and destroys part of the objects that its requests made.
func (c *crowd) client(random *rand.Rand) {
	var made []string // paths without a command
	for range 20 {
		q := c.requests[random.IntN(len(c.requests))]
		if strings.HasPrefix(q.path, "/drives/") && strings.HasSuffix(q.path, "/destroy") {
			if len(made) == 0 {
				continue // the drives of the server stay
			}
			q.path = made[random.IntN(len(made))] + "/destroy"
		}
		a, err := c.try(c.request("POST", q.path, strings.NewReader(q.input)))
		if err != nil || !slices.Contains([]int{200, 204, 400, 404, 409}, a.status) {
			c.Errorf("%s: got %d %q, %v", q.path, a.status, a.body, err)
			return
		}
		made = append(made, c.learn(q.path, a)...)
	}
}

// learn records what a response says, and returns the paths of the objects that the request made.
func (c *crowd) learn(path string, a result) (made []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	kind, rest, _ := strings.Cut(path[1:], "/")
	id, command, _ := strings.Cut(rest, "/")
	switch {
	case command == "destroy" && a.status == 204:
		delete(map[string]map[string]bool{"servers": c.servers, "drives": c.drives}[kind], id)
	case a.status != 200 || strings.Contains(path, "/read/"):
	case command == "clone" || rest == "create":
		o := decode(a.body)
		for _, key := range []string{"drive", "ide:0:0", "block:0"} {
			if drive := value(o, key); drive != "" && !c.drives[drive] {
				c.drives[drive] = true
				made = append(made, "/drives/"+drive)
			}
		}
		if server := value(o, "server"); server != "" {
			c.servers[server] = true
			made = append(made, "/servers/"+server)
		}
	case kind == "drives":
		for _, o := range decodeAll(a.body) {
			c.checkExclusive(o)
		}
	}
	return made
}

// checkExclusive: a server that runs with an exclusive drive is its only claimant.
func (r *rig) checkExclusive(drive object) {
	r.Helper()
	claimed, isShared := value(drive, "claimed"), value(drive, "claim:type") == claimShared
	if !isShared && strings.Contains(claimed, ":guest:") && len(strings.Fields(claimed)) > 1 {
		r.Errorf("got %v, want one claim of a server that runs", drive)
	}
}

// decodeAll decodes the objects of a response.
func decodeAll(body []byte) (all []object) {
	for text := range strings.SplitSeq(string(body), "\n\n") {
		if o := decode([]byte(text)); len(o) > 0 {
			all = append(all, o)
		}
	}
	return all
}

// settled is what /servers/info and /drives/info say at one moment, after all clones, while no
// client starts anything. A server may still obey a shutdown.
func (r *rig) settled() (servers, drives []object) {
	r.Helper()
	for _, o := range decodeAll(r.get("/drives/info").body) {
		if value(o, "status") == string(statusCopying) {
			r.awaitImaged(value(o, "drive"))
		}
	}
	for before := r.get("/servers/info").body; ; {
		drives = decodeAll(r.get("/drives/info").body)
		after := r.get("/servers/info").body
		servers = decodeAll(after)
		if bytes.Count(before, []byte("\nstarted ")) == bytes.Count(after, []byte("\nstarted ")) {
			return servers, drives
		}
		before = after
	}
}

// check checks the invariants of servers and drives: each object of the responses exists, and no
// other; each device of each server that runs claims its drive, and nothing else does.
func (c *crowd) check() {
	c.Helper()
	servers, drives := c.settled()
	want, left := make(map[string][]string), make(map[string]bool)
	for _, o := range servers {
		left[value(o, "server")] = true
		for _, device := range devices {
			if drive, ok := o.get(device); ok && value(o, "status") == serverActive {
				want[drive] = append(want[drive], c.s.host+":guest:"+value(o, "server")+":"+device)
			}
		}
	}
	if !maps.Equal(left, c.servers) {
		c.Errorf("got the servers %v, want %v", left, c.servers)
	}
	clear(left)
	for _, o := range drives {
		id := value(o, "drive")
		left[id] = true
		claims := strings.Fields(value(o, "claimed"))
		slices.Sort(claims)
		slices.Sort(want[id])
		if !slices.Equal(claims, want[id]) {
			c.Errorf("drive %s: got the claims %q, want those of the servers that run, %q", id, claims, want[id])
		}
		c.checkExclusive(o)
		if value(o, "status") != string(statusActive) {
			c.Errorf("got %v, want it active", o)
		}
	}
	if !maps.Equal(left, c.drives) {
		c.Errorf("got the drives %v, want %v", left, c.drives)
	}
}

// TestClientsShareOneServer runs 50 clients on one server and its drives at once, while its guest
// writes. The invariants hold in the end, after a restart, and once all servers are stopped.
func TestClientsShareOneServer(t *testing.T) {
	cfg := testConfig(t)
	cfg.GuestWrites = 16 << 20
	r := serveRig(t, cfg)
	r.faults("shutdown=1ms")
	r.http.Client().Transport.(*http.Transport).MaxIdleConnsPerHost = 50
	c := newCrowd(r)
	var group sync.WaitGroup
	for client := range 50 {
		group.Go(func() { c.client(rand.New(rand.NewPCG(1, uint64(client)))) })
	}
	group.Wait()
	c.check()
	stopAll(r)
	r.post("/servers/"+c.server+"/start", "") // whatever the clients did, it can start
	c.check()
	r.stop()
	c.rig = serveRig(t, cfg)
	c.check()
	stopAll(c.rig)
	c.check()
	for _, drive := range []string{c.exclusive, c.shared} {
		c.write(drive, 0, []byte("x"))
	}
}

func stopAll(r *rig) {
	r.Helper()
	for id := range strings.Lines(string(r.get("/servers/list").body)) {
		r.want(204, "POST", "/servers/"+strings.TrimSpace(id)+"/stop", nil)
	}
}

// TestDriveIsFreeWhenItsServerStops: the moment that stop or destroy has answered, its drives can
// be written, resized and destroyed, although a guest wrote all the time.
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
