package sandbox

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// step is one request and what the response must be. In path, body and want, words of the form
// $NAME stand for the values of a test.
type step struct {
	request string // method and path
	body    string
	status  int
	want    string // the whole body of a success; a part of that of an error
}

// run sends the requests of steps in order.
func (r *rig) run(names *strings.Replacer, steps []step) {
	r.Helper()
	for _, st := range steps {
		method, path, _ := strings.Cut(names.Replace(st.request), " ")
		a := r.do(method, path, []byte(names.Replace(st.body)))
		got, want := string(a.body), names.Replace(st.want)
		same := got == want
		if a.status >= 400 {
			same = strings.Contains(got, want)
		}
		if a.status != st.status || !same {
			r.Errorf("%s %q: got %d %q, want %d %q", st.request, st.body, a.status, got, st.status, want)
		}
	}
}

func TestEachVLANCommandResponds(t *testing.T) {
	r := newRig(t)
	r.run(strings.NewReplacer(), []step{
		{"GET /resources/vlan/list", "", 200, ""},
		{"GET /resources/vlan/info", "", 200, ""},
		{"POST /resources/vlan/create", "", 400, "errors:name "},
		{"POST /resources/vlan/create", "name ", 400, "errors:name "},
		{"POST /resources/vlan/create", "name a\x01b", 400, "errors:name "},
		{"GET /resources/vlan/create", "name x", 405, ""},
	})
	first, second := r.createVLAN("My private: net"), r.createVLAN("dmz")
	names := strings.NewReplacer("$USER", r.s.account, "$FIRST", first, "$SECOND", second, "$ANY", anyID)
	const (
		private = "resource $FIRST\ntype vlan\nuser $USER\nname My private: net\n"
		renamed = "resource $FIRST\ntype vlan\nuser $USER\nname größer\n"
		dmz     = "resource $SECOND\ntype vlan\nuser $USER\nname dmz\n"
	)
	r.run(names, []step{
		{"GET /resources/vlan/list", "", 200, "vlan $FIRST\nvlan $SECOND\n"},
		{"POST /resources/vlan/list", "junk", 200, "vlan $FIRST\nvlan $SECOND\n"},
		{"GET /resources/vlan/info", "", 200, private + "\n" + dmz},
		{"GET /resources/vlan/$FIRST/info", "", 200, private},
		{"GET /resources/vlan/$ANY/info", "", 404, "$ANY could not be found"},
		{"GET /resources/vlan/---no+such+id---/info", "", 404, ""},
		{"POST /resources/vlan/$FIRST/set", "unknown 1\r\nname größer\r\n", 200, renamed},
		{"POST /resources/vlan/$FIRST/set", "", 400, "errors:name "},
		{"POST /resources/vlan/$FIRST/set", "name \nx y", 400, "name \nx y\nerrors:name "},
		{"GET /resources/vlan/$FIRST/set", "name x", 405, ""},
		{"POST /resources/vlan/$ANY/set", "name x", 404, "$ANY could not be found"},
		{"GET /resources/vlan/$FIRST/info", "", 200, renamed},
		{"GET /resources/vlan/$FIRST/destroy", "", 204, ""},
		{"GET /resources/vlan/$FIRST/info", "", 404, "$FIRST could not be found"},
		{"POST /resources/vlan/$FIRST/destroy", "", 404, "$FIRST could not be found"},
		{"GET /resources/vlan/list", "", 200, "vlan $SECOND\n"},
		{"POST /resources/vlan/$SECOND/destroy", "resources/vlan/$SECOND/destroy\n", 204, ""},
		{"GET /resources/vlan/list", "", 200, ""},
	})
}

func TestEachAddressCommandResponds(t *testing.T) {
	r := newRig(t)
	object := func(ip string) string {
		return "resource " + ip + "\ntype ip\nuser " + r.s.account + "\nnetmask 255.255.255.0\n" +
			"gateway 203.0.113.1\nnameserver 203.0.113.1 198.51.100.1\n"
	}
	first, second, third := object("203.0.113.2"), object("203.0.113.3"), object("203.0.113.4")
	r.run(strings.NewReplacer(), []step{
		{"GET /resources/ip/list", "", 200, ""},
		{"GET /resources/ip/info", "", 200, ""},
		{"GET /resources/ip/203.0.113.2/info", "", 404, "203.0.113.2 could not be found"},
		{"GET /resources/ip/create", "", 200, first},
		{"POST /resources/ip/create", "", 200, second},
		{"POST /resources/ip/create", "resources/ip/create\n", 200, third},
		{"GET /resources/ip/list", "", 200, "ip 203.0.113.2\nip 203.0.113.3\nip 203.0.113.4\n"},
		{"GET /resources/ip/info", "", 200, first + "\n" + second + "\n" + third},
		{"GET /resources/ip/203.0.113.3/info", "", 200, second},
		{"POST /resources/ip/203.0.113.2/destroy", "", 204, ""},
		{"GET /resources/203.0.113.4/destroy", "", 204, ""},
		{"GET /resources/203.0.113.4/destroy", "", 404, "203.0.113.4 could not be found"},
		{"POST /resources/ip/203.0.113.2/destroy", "", 404, "203.0.113.2 could not be found"},
		{"POST /resources/ip/203.0.113.256/destroy", "", 404, ""},
		{"GET /resources/ip/list", "", 200, "ip 203.0.113.3\n"},
		{"GET /resources/ip/create", "", 200, first},
		{"GET /resources/ip/list", "", 200, "ip 203.0.113.3\nip 203.0.113.2\n"}, // oldest first
		{"GET /resources/ip/203.0.113.3/destroy", "", 204, ""},
		{"POST /resources/203.0.113.2/destroy", "", 204, ""},
		{"GET /resources/ip/list", "", 200, ""},
	})
}

func TestResourcesListsBothKinds(t *testing.T) {
	r := newRig(t)
	r.run(strings.NewReplacer(), []step{
		{"GET /resources/list", "", 200, ""},
		{"GET /resources/info", "", 200, ""},
	})
	ip, vlan := r.createAddress(), r.createVLAN("x")
	both := string(r.get("/resources/vlan/info").body) + "\n" + string(r.get("/resources/ip/info").body)
	r.run(strings.NewReplacer("$IP", ip, "$VLAN", vlan), []step{
		{"GET /resources/list", "", 200, "vlan $VLAN\nip $IP\n"},
		{"POST /resources/info", "", 200, both},
	})
}

func TestResourcesOfServersAreInUse(t *testing.T) {
	r := newRig(t)
	ip, vlan := r.createAddress(), r.createVLAN("x")
	claimed := func() string { return value(decode(r.get("/resources/ip/"+ip+"/info").body), "claimed") }
	other := r.createServer("vnc:ip " + ip + "\n")
	server := r.createServer("nic:0:dhcp " + ip + "\nnic:1:vlan " + vlan + "\n")
	if got := claimed(); got != other {
		t.Errorf("while no server runs: got claimed %q, want the oldest, %s", got, other)
	}
	r.post("/servers/"+server+"/start", "")
	if got := claimed(); got != server {
		t.Errorf("got claimed %q, want the server that runs, %s", got, server)
	}
	busy := func(user string) []step {
		return []step{
			{"GET /resources/ip/$IP/destroy", "", 409, "$IP is currently in use: server " + user},
			{"POST /resources/$IP/destroy", "", 409, "$IP is currently in use: server " + user},
			{"POST /resources/vlan/$VLAN/destroy", "", 409, "$VLAN is currently in use: server " + server},
		}
	}
	names := strings.NewReplacer("$IP", ip, "$VLAN", vlan, "$SERVER", server, "$OTHER", other, "$USER", r.s.account)
	r.run(names, busy(server))
	r.run(names, []step{
		{"POST /resources/vlan/$VLAN/set", "name y", 200, "resource $VLAN\ntype vlan\nuser $USER\nname y\n"},
		{"POST /servers/$SERVER/stop", "", 204, ""},
	})
	r.run(names, busy(other))
	r.post("/servers/"+server+"/set", "nic:1:vlan \nnic:0:dhcp auto\n")
	r.run(names, []step{
		{"POST /resources/vlan/$VLAN/destroy", "", 204, ""},
		{"POST /resources/ip/$IP/destroy", "", 409, "currently in use"},
		{"POST /servers/$OTHER/destroy", "", 204, ""},
		{"POST /resources/ip/$IP/destroy", "", 204, ""},
	})
}

func TestAddressesRunOut(t *testing.T) {
	r := newRig(t)
	for range staticLast - staticFirst + 1 {
		r.createAddress()
	}
	contains(t, r.want(400, "GET", "/resources/ip/create", nil).body, "errors:system ")
	r.want(204, "GET", "/resources/ip/203.0.113.77/destroy", nil)
	if got := r.createAddress(); got != "203.0.113.77" {
		t.Errorf("got %s, want the one that is free, 203.0.113.77", got)
	}
}

func TestAddressesAreGivenOnce(t *testing.T) {
	r := newRig(t)
	var mu sync.Mutex
	var got []string
	var group sync.WaitGroup
	for i := range 50 {
		group.Go(func() {
			a := r.do("POST", "/resources/ip/create", nil)
			r.do("POST", "/resources/vlan/create", fmt.Appendf(nil, "name %d", i))
			mu.Lock()
			defer mu.Unlock()
			got = append(got, value(decode(a.body), "resource"))
		})
	}
	group.Wait()
	slices.Sort(got)
	if n := len(slices.Compact(slices.Clone(got))); n != 50 {
		t.Errorf("got %d addresses, want 50: %v", n, got)
	}
}

// TestResourcesOutlastARestart compares all that the commands of sections 9 and 10 return.
func TestResourcesOutlastARestart(t *testing.T) {
	cfg := testConfig(t)
	r := serveRig(t, cfg)
	ip, vlan, server, group := r.createAddress(), r.createVLAN("x"), r.createServer(""), r.createGroup("web")
	r.createVLAN("y")
	r.createAddress()
	r.want(204, "POST", "/resources/ip/"+ip+"/destroy", nil)
	r.createAddress()
	r.post("/resources/vlan/"+vlan+"/set", "name new name")
	r.post("/servers/"+server+"/set", "nic:0:dhcp 203.0.113.3")
	r.post("/servergroups/"+group+"/set", "name web 2\ndescription front: end")
	r.want(200, "POST", "/servergroups/"+group+"/add", []byte("server:0 "+server))
	paths := []string{
		"/resources/list", "/resources/info", "/servergroups/list", "/servergroups/" + group + "/info",
		"/servergroups/" + group + "/stop",
	}
	var before []string
	for _, path := range paths {
		before = append(before, string(r.get(path).body))
	}
	r.stop()
	r = serveRig(t, cfg)
	for i, path := range paths {
		if got := string(r.get(path).body); got != before[i] || got == "" {
			t.Errorf("%s: got %q, want %q", path, got, before[i])
		}
	}
}

func TestFaultsHitResources(t *testing.T) {
	r := newRig(t)
	vlan, group := r.createVLAN("x"), r.createGroup("x")
	for spec, status := range map[string]int{
		"409=100%": http.StatusConflict, "500=100%": http.StatusInternalServerError,
		"504=100%": http.StatusGatewayTimeout,
	} {
		r.faults(spec)
		r.want(status, "POST", "/resources/vlan/"+vlan+"/set", []byte("name y"))
		r.want(status, "POST", "/servergroups/"+group+"/start", nil)
	}
}
