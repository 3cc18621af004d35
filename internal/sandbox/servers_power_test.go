package sandbox

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// virtual is a Server whose requests use no network, for tests in virtual time.
type virtual struct {
	testing.TB
	s *Server
}

func newVirtual(t testing.TB, cfg Config) *virtual {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &virtual{t, s}
}

// post sends a request, checks its status and returns the object of the response.
func (v *virtual) post(status int, path, input string) object {
	v.Helper()
	w := httptest.NewRecorder()
	v.s.Plain().ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, strings.NewReader(input)))
	if w.Code != status {
		v.Fatalf("%s: got %d %q, want %d", path, w.Code, w.Body, status)
	}
	return decode(w.Body.Bytes())
}

func (v *virtual) server(id string) object {
	v.Helper()
	return v.post(200, "/servers/"+id+"/info", "")
}
func (v *virtual) drive(id string) object { v.Helper(); return v.post(200, "/drives/"+id+"/info", "") }

// status checks the status of a server.
func (v *virtual) status(id, want string) {
	v.Helper()
	if got := value(v.server(id), "status"); got != want {
		v.Errorf("got status %s, want %s", got, want)
	}
}

func (v *virtual) close() {
	v.Helper()
	if err := v.s.Close(); err != nil {
		v.Error(err)
	}
}

// started makes a drive, and a server that runs with it.
func (v *virtual) started() (server, drive string) {
	v.Helper()
	drive = value(v.post(200, "/drives/create", "name x\nsize 1M"), "drive")
	server = value(v.post(200, "/servers/create", minimal+"status active\nide:0:0 "+drive), "server")
	return server, drive
}

func TestShutdownIsObeyedLater(t *testing.T) {
	for spec, want := range map[string]time.Duration{
		"": shutdownTime, "shutdown=10s": 10 * time.Second, "shutdown=0s": 0, "shutdown=3s": shutdownTime,
		"shutdown=never": Never,
	} {
		t.Run(spec, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := testConfig(t)
				if spec != "" {
					f, err := ParseFault(spec)
					if err != nil {
						t.Fatal(err)
					}
					cfg.Faults = []Fault{f}
				}
				v := newVirtual(t, cfg)
				defer v.close()
				id, drive := v.started()
				check := func(state string) {
					t.Helper()
					synctest.Wait()
					v.status(id, state)
					if _, claimed := v.drive(drive).get("claimed"); claimed != (state == serverActive) {
						t.Errorf("%s: got claimed %v", state, claimed)
					}
				}
				v.post(204, "/servers/"+id+"/shutdown", "")
				if want == Never {
					time.Sleep(24 * time.Hour)
					check(serverActive)
					v.post(204, "/servers/"+id+"/stop", "")
					check(serverStopped)
					return
				}
				if want > 0 {
					time.Sleep(want / 2)
					v.post(204, "/servers/"+id+"/shutdown", "") // again: it does not take longer
					time.Sleep(want/2 - time.Millisecond)
					check(serverActive)
					time.Sleep(time.Millisecond)
				}
				check(serverStopped)
				v.post(200, "/servers/"+id+"/start", "")
				time.Sleep(time.Hour)
				check(serverActive)
			})
		})
	}
}

func TestResetEndsAShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVirtual(t, testConfig(t))
		defer v.close()
		id, _ := v.started()
		v.post(204, "/servers/"+id+"/shutdown", "")
		v.post(204, "/servers/"+id+"/reset", "")
		time.Sleep(time.Hour)
		v.status(id, serverActive)
		v.post(204, "/servers/"+id+"/shutdown", "")
		time.Sleep(shutdownTime)
		synctest.Wait()
		v.status(id, serverStopped)
	})
}

func TestStartAndStopAreIdempotent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVirtual(t, testConfig(t))
		defer v.close()
		id, drive := v.started()
		before := v.server(id)
		if got := value(before, "started"); got != strconv.FormatInt(time.Now().Unix(), 10) {
			t.Errorf("got started %q, want now", got)
		}
		time.Sleep(time.Minute)
		if again := v.post(200, "/servers/"+id+"/start", ""); !slices.Equal(again, before) {
			t.Errorf("second start: got %v, want %v", again, before)
		}
		if got := strings.Fields(value(v.drive(drive), "claimed")); len(got) != 1 {
			t.Errorf("got the claims %v, want one", got)
		}
		v.post(204, "/servers/"+id+"/stop", "")
		v.post(204, "/servers/"+id+"/stop", "")
		o := v.server(id)
		if _, ok := o.get("started"); ok || value(o, "status") != serverStopped {
			t.Errorf("got %v, want it stopped", o)
		}
		v.post(200, "/servers/"+id+"/start", "")
		if got := value(v.server(id), "started"); got != strconv.FormatInt(time.Now().Unix(), 10) {
			t.Errorf("got started %q, want now", got)
		}
	})
}

func TestShutdownFaultCountsItsServers(t *testing.T) {
	r := newRig(t)
	r.faults("shutdown=never")
	running, stopped := r.createServer("status active\n"), r.createServer("")
	for _, id := range []string{running, stopped} {
		r.want(204, "POST", "/servers/"+id+"/shutdown", nil)
	}
	r.checkCounts("shutdown", 1, 1)
}

func TestAutoBecomesOneAddress(t *testing.T) {
	r := newRig(t)
	for in, want := range map[string]object{
		"nic:0:dhcp auto\nvnc:ip auto":                {{keyDHCP, "="}, {keyVNC, "="}},
		"nic:0:dhcp auto":                             {{keyDHCP, "="}, {keyVNC, ""}},
		"vnc:ip auto":                                 {{keyDHCP, ""}, {keyVNC, "="}},
		"nic:0:dhcp 203.0.113.9\nvnc:ip auto":         {{keyDHCP, "203.0.113.9"}, {keyVNC, "203.0.113.9"}},
		"nic:0:dhcp 203.0.113.8":                      {{keyDHCP, "203.0.113.8"}, {keyVNC, ""}},
		"nic:0:dhcp 203.0.113.7\nvnc:ip 198.51.100.1": {{keyDHCP, "203.0.113.7"}, {keyVNC, "198.51.100.1"}},
		"nic:0:model virtio":                          {{keyDHCP, ""}, {keyVNC, ""}},
	} {
		id := r.createServer(in)
		stopped := r.server(id)
		var last string
		for range 2 {
			started := r.post("/servers/"+id+"/start", "")
			address := value(started, keyDHCP)
			if address == "" {
				address = value(started, keyVNC)
			}
			for _, p := range want {
				if p.value == "=" {
					p.value = address
					if !strings.HasPrefix(address, "198.51.100.") || address == last {
						t.Errorf("%q: got address %q after %q, want another dynamic one", in, address, last)
					}
				}
				if got := value(started, p.key); got != p.value {
					t.Errorf("%q: got %s %q, want %q", in, p.key, got, p.value)
				}
			}
			last = address
			r.want(204, "POST", "/servers/"+id+"/stop", nil)
			if o := r.server(id); !slices.Equal(o, stopped) {
				t.Errorf("%q: got %v when stopped again, want %v", in, o, stopped)
			}
		}
	}
}

func TestAddressesAreFreedAtStop(t *testing.T) {
	r := newRig(t)
	const free = dynamicLast - dynamicFirst + 1
	seen := make(map[string]string)
	for range free {
		o := r.post("/servers/create", minimal+"nic:0:dhcp auto\nstatus active")
		if id, twice := seen[value(o, keyDHCP)]; twice {
			t.Fatalf("got address %s for %s and %v, want it once", value(o, keyDHCP), id, o)
		}
		seen[value(o, keyDHCP)] = value(o, "server")
	}
	contains(t, r.want(409, "POST", "/servers/create", []byte(minimal+"nic:0:dhcp auto\nstatus active")).body,
		"currently in use", "no free address")
	if got := len(strings.Fields(string(r.get("/servers/list").body))); got != free {
		t.Errorf("got %d servers, want %d: one that cannot start is not created", got, free)
	}
	id := r.createServer("vnc:ip auto\n")
	r.want(409, "POST", "/servers/"+id+"/start", nil)
	r.want(204, "POST", "/servers/"+seen["198.51.100.77"]+"/stop", nil)
	if o := r.post("/servers/"+id+"/start", ""); value(o, keyVNC) != "198.51.100.77" {
		t.Errorf("got %v, want the address that was freed", o)
	}
}

func TestStaticAddressHasOneServer(t *testing.T) {
	r := newRig(t)
	a, b := r.createServer("nic:0:dhcp 203.0.113.5\n"), r.createServer("nic:0:dhcp 203.0.113.5\n")
	r.post("/servers/"+a+"/start", "")
	contains(t, r.want(409, "POST", "/servers/"+b+"/start", nil).body, "203.0.113.5 is currently in use", a)
	r.want(204, "POST", "/servers/"+a+"/stop", nil)
	r.post("/servers/"+b+"/start", "")
}

// TestServersThatStartTogetherShareNothingExclusive starts servers of one exclusive drive and of
// crossed pairs of drives at once: each time exactly one gets them.
func TestServersThatStartTogetherShareNothingExclusive(t *testing.T) {
	r := newRig(t)
	d, e := r.create(4096), r.create(4096)
	const n = 8
	ids := make([]string, n)
	for i := range ids {
		keys := "ide:0:0 " + d + "\nblock:0 " + e + "\n"
		if i%2 == 1 {
			keys = "ide:0:0 " + e + "\nblock:0 " + d + "\n"
		}
		ids[i] = r.createServer(keys)
	}
	for range 20 {
		statuses := make([]int, n)
		var group sync.WaitGroup
		for i, id := range ids {
			group.Go(func() { statuses[i] = r.do("POST", "/servers/"+id+"/start", nil).status })
		}
		group.Wait()
		slices.Sort(statuses)
		if statuses[0] != 200 || statuses[1] != 409 || statuses[n-1] != 409 {
			t.Fatalf("got statuses %v, want 200 once, else 409", statuses)
		}
		for _, drive := range []string{d, e} {
			if claims := strings.Fields(value(r.info(drive), "claimed")); len(claims) != 1 {
				t.Fatalf("got the claims %v, want one", claims)
			}
		}
		for _, id := range ids {
			r.want(204, "POST", "/servers/"+id+"/stop", nil)
		}
	}
}

func TestServersSurviveARestart(t *testing.T) {
	cfg := testConfig(t)
	r := serveRig(t, cfg)
	var ids, drives []string
	for i := range 6 {
		drive := r.create(4096)
		keys := fmt.Sprintf("nic:0:dhcp auto\nvnc:ip auto\nvnc:password x%d\nide:0:1 %s\nuser:a Größe %d\n",
			i, drive, i)
		if i%2 == 0 {
			keys += "status active\n"
		}
		ids, drives = append(ids, r.createServer(keys)), append(drives, drive)
	}
	r.want(204, "POST", "/servers/"+ids[5]+"/destroy", nil)
	all := func() (bodies []string) {
		for _, path := range []string{"/servers/list", "/servers/info", "/drives/info"} {
			bodies = append(bodies, string(r.get(path).body))
		}
		return bodies
	}
	before := all()
	r.stop()
	r = serveRig(t, cfg)
	if after := all(); !slices.Equal(after, before) {
		t.Errorf("got %q after the restart, want %q", after, before)
	}
	for i, id := range ids[:5] {
		if _, claimed := r.info(drives[i]).get("claimed"); claimed != (i%2 == 0) {
			t.Errorf("server %d: got claimed %v", i, claimed)
		}
		r.want(204, "POST", "/servers/"+id+"/stop", nil)
		r.write(drives[i], 0, []byte("x"))
	}
	r.stop()
	r = serveRig(t, cfg)
	for _, id := range ids[:5] {
		if o := r.server(id); value(o, "status") != serverStopped || value(o, keyDHCP) != addressAuto {
			t.Errorf("got %v, want it stopped", o)
		}
	}
}

// TestServerWhoseDriveIsLostIsStopped: the drive of a server that ran is gone at the next start.
func TestServerWhoseDriveIsLostIsStopped(t *testing.T) {
	cfg := testConfig(t)
	r := serveRig(t, cfg)
	drive, other := r.create(4096), r.create(4096)
	id := r.createServer("ide:0:0 " + other + "\nide:0:1 " + drive + "\nstatus active\n")
	d, _ := r.s.drives.find(drive)
	r.stop()
	if err := r.s.drives.remove(d); err != nil {
		t.Fatal(err)
	}
	r = serveRig(t, cfg)
	if o := r.server(id); value(o, "status") != serverStopped || value(o, "ide:0:1") != drive {
		t.Errorf("got %v, want it stopped, and to name its drive", o)
	}
	contains(t, r.want(400, "POST", "/servers/"+id+"/start", nil).body, "errors:ide:0:1 ", "could not be found")
	if _, claimed := r.info(other).get("claimed"); claimed {
		t.Error("got a claim on its other drive, want none")
	}
}

// TestServerStaysAsItIsIfItCannotBeSaved: the folder of the servers is missing.
func TestServerStaysAsItIsIfItCannotBeSaved(t *testing.T) {
	r := newRig(t)
	drive := r.create(4096)
	stopped, running := r.createServer("ide:0:0 "+drive+"\nnic:0:dhcp auto\n"), r.createServer("status active\n")
	before := string(r.get("/servers/info").body)
	moved := r.s.servers.dir + ".moved"
	if err := os.Rename(r.s.servers.dir, moved); err != nil {
		t.Fatal(err)
	}
	for _, c := range []string{
		stopped + "/start", stopped + "/set", stopped + "/destroy", stopped + "/clone", running + "/stop", "create",
	} {
		r.want(500, "POST", "/servers/"+c, []byte(minimal+"status active"))
	}
	if after := string(r.get("/servers/info").body); after != before {
		t.Errorf("got %q, want %q", after, before)
	}
	r.write(drive, 0, []byte("x")) // neither claimed nor cloned
	if got := string(r.get("/drives/list").body); got != drive+"\n" {
		t.Errorf("got the drives %q, want %s alone", got, drive)
	}
	r.faults("shutdown=0s")
	r.want(204, "POST", "/servers/"+running+"/shutdown", nil)
	if err := os.Rename(moved, r.s.servers.dir); err != nil {
		t.Fatal(err)
	}
	r.want(204, "POST", "/servers/"+running+"/stop", nil)
	r.want(200, "POST", "/servers/start", []byte("server:0 "+stopped+"\nserver:1 "+running))
}

func TestShutdownOfAnEarlierRunStopsNothing(t *testing.T) {
	r := newRig(t)
	v, _ := r.s.servers.find(r.createServer("status active\n"))
	first := v.guest
	r.want(204, "POST", "/servers/"+v.id+"/stop", nil)
	r.post("/servers/"+v.id+"/start", "")
	if !r.s.powerOff(v, first) {
		t.Error("got a guest of the earlier run that goes on, want that it has ended")
	}
	if o := r.server(v.id); value(o, "status") != serverActive {
		t.Errorf("got %v, want it active", o)
	}
}

// TestResetWinsOverAShutdownThatIsDue: the reset is carried out after the guest has shut down, and
// before that stops the server.
func TestResetWinsOverAShutdownThatIsDue(t *testing.T) {
	r := newRig(t)
	v, _ := r.s.servers.find(r.createServer("status active\n"))
	r.want(204, "POST", "/servers/"+v.id+"/shutdown", nil)
	r.want(204, "POST", "/servers/"+v.id+"/reset", nil)
	if r.s.powerOff(v, v.guest) {
		t.Error("got a guest that has ended, want that it goes on")
	}
	if o := r.server(v.id); value(o, "status") != serverActive {
		t.Errorf("got %v, want it active", o)
	}
}

// TestShutdownThatCannotBeSavedMayBeRepeated: the folder of the servers is missing when the guest
// obeys the first one.
func TestShutdownThatCannotBeSavedMayBeRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVirtual(t, testConfig(t))
		defer v.close()
		id, _ := v.started()
		moved := v.s.servers.dir + ".moved"
		v.post(204, "/servers/"+id+"/shutdown", "")
		if err := os.Rename(v.s.servers.dir, moved); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if err := os.Rename(moved, v.s.servers.dir); err != nil {
			t.Fatal(err)
		}
		v.status(id, serverActive)
		v.post(204, "/servers/"+id+"/shutdown", "")
		time.Sleep(shutdownTime)
		synctest.Wait()
		v.status(id, serverStopped)
	})
}

// TestDestroyedServerIsNotFound also by a request that found it before.
func TestDestroyedServerIsNotFound(t *testing.T) {
	r := newRig(t)
	id := r.createServer("")
	var late []action
	for _, c := range []string{"info", "set", "clone", "destroy", "start", "stop", "shutdown", "reset"} {
		req := newRequest(httptest.NewRecorder(), httptest.NewRequest("POST", "/", strings.NewReader("name x")))
		var ok bool
		if req.command, req.parameters, ok = match(r.s.routes, "/servers/"+id+"/"+c); !ok {
			t.Fatalf("%s: got no command, want one", c)
		}
		run, err := req.command.handler(req)
		if err != nil {
			t.Fatal(err)
		}
		late = append(late, run)
	}
	r.want(204, "POST", "/servers/"+id+"/destroy", nil)
	for i, run := range late {
		var status *statusError
		if _, err := run(); !errors.As(err, &status) || status.status != 404 {
			t.Errorf("command %d: got %v, want status 404", i, err)
		}
	}
	if files, err := os.ReadDir(r.s.servers.dir); err != nil || len(files) != 0 {
		t.Errorf("got the files %v, %v; want none", files, err)
	}
}
