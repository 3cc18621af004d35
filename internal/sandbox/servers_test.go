package sandbox

import (
	"slices"
	"strings"
	"testing"
)

// minimal is the least input of a server.
const minimal = "name test\ncpu 1000\nmem 512\n"

// TestEachServerCommandUnderEachName runs every command of section 8, in the order of a life.
func TestEachServerCommandUnderEachName(t *testing.T) {
	for _, name := range []string{"servers", "guests", "guest"} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			at := "/" + name + "/"
			if a := r.get(at + "list"); len(a.body) != 0 {
				t.Errorf("list: got %q, want an empty body", a.body)
			}
			if a := r.get(at + "info"); len(a.body) != 0 {
				t.Errorf("info: got %q, want an empty body", a.body)
			}
			first := value(r.post(at+"create", minimal), "server")
			second := value(r.post(at+"create/stopped", minimal+"status active\n"), "server")
			both := first + "\n" + second + "\n"
			if a := r.get(at + "list"); string(a.body) != both {
				t.Errorf("list: got %q, want %q", a.body, both)
			}
			if got := strings.Split(string(r.get(at+"info").body), "\n\n"); len(got) != 2 {
				t.Errorf("info: got %d objects %q, want 2 with one blank line between", len(got), got)
			}
			one := at + first + "/"
			for _, step := range []struct {
				command, input string
				status         int
				state          string
			}{
				{"info", "", 200, "stopped"},
				{"stop", "", 204, "stopped"},
				{"shutdown", "", 204, "stopped"},
				{"reset", "", 204, "stopped"},
				{"start", "", 200, "active"},
				{"start", "junk", 200, "active"},
				{"set", "name other", 200, "active"},
				{"reset", "", 204, "active"},
				{"shutdown", "", 204, "active"}, // for some seconds
				{"stop", "", 204, "stopped"},
			} {
				a := r.want(step.status, "POST", one+step.command, []byte(step.input))
				if empty := len(a.body) == 0; empty != (step.status == 204) {
					t.Errorf("%s: got %d with body %q", step.command, a.status, a.body)
				}
				if a.status == 200 && value(decode(a.body), "status") != step.state {
					t.Errorf("%s: got %q, want status %s", step.command, a.body, step.state)
				}
				if got := value(r.server(first), "status"); got != step.state {
					t.Errorf("after %s: got status %s, want %s", step.command, got, step.state)
				}
			}
			third := value(r.post(one+"clone", "name copy"), "server")
			all := "server:0 " + first + "\nserver:1 " + second + "\nserver:2 " + third + "\n"
			for _, command := range []string{"start", "stop", "destroy"} {
				a := r.want(200, "POST", at+command, []byte(all))
				if want := both + third + "\n"; string(a.body) != want {
					t.Errorf("%s: got %q, want %q", command, a.body, want)
				}
			}
			r.want(404, "POST", one+"destroy", nil)
			r.want(404, "GET", one+"info", nil)
		})
	}
}

func TestServerHasTheKeysOfItsInput(t *testing.T) {
	r := newRig(t)
	drive, iso := r.create(4096), r.create(4096)
	for in, want := range map[string]object{
		"": {
			{"name", "test"}, {"cpu", "1000"}, {"mem", "512"}, {"smp", "1"}, {"boot", "ide:0:0"},
			{"persistent", "true"}, {"status", "stopped"}, {"user", r.s.account}, {"tx", "0"}, {"rx", "0"},
			{"tx:packets", "0"}, {"rx:packets", "0"},
		},
		"name Größe: 1 2\r\nsmp auto\r\n":       {{"name", "Größe: 1 2"}, {"smp", "auto"}},
		"cpu 1\nmem 0256\nsmp 4":                {{"cpu", "1"}, {"mem", "256"}, {"smp", "4"}},
		"parent x y\nuse a b\npersistent false": {{"parent", "x y"}, {"use", "a b"}, {"persistent", "false"}},
		"user:a b c":                            {{"user:a", "b c"}},
		"nic:0:dhcp auto": {
			{"nic:0:dhcp", "auto"}, {"nic:0:model", "e1000"}, {"nic:0:block", "tcp/25"},
		},
		"nic:0:model virtio\nnic:0:dhcp 1.2.3.4": {{"nic:0:dhcp", "1.2.3.4"}, {"nic:0:model", "virtio"}},
		"nic:1:vlan " + strings.ToUpper(anyID):   {{"nic:1:vlan", anyID}, {"nic:1:model", "e1000"}},
		"nic:1:model rtl8139\nnic:1:mac AA:bb:cc:dd:ee:01": {
			{"nic:1:model", "rtl8139"}, {"nic:1:mac", "aa:bb:cc:dd:ee:01"},
		},
		"vnc:ip auto\nvnc:password 12345678\nvnc:tls on": {
			{"vnc:ip", "auto"}, {"vnc:password", "12345678"}, {"vnc:tls", "on"},
		},
		"vnc:password äöüäöüäö": {{"vnc:password", "äöüäöüäö"}},
		"ide:0:0 " + strings.ToUpper(drive) + "\nide:1:1 " + iso + "\nide:1:1:media cdrom\nboot ide:1:1  ide:0:0": {
			{"ide:0:0", drive}, {"ide:1:1", iso}, {"ide:1:1:media", "cdrom"}, {"boot", "ide:1:1 ide:0:0"},
			{"ide:0:0:read:bytes", "0"}, {"ide:1:1:write:requests", "0"},
		},
	} {
		created := r.post("/servers/create", minimal+in)
		id := value(created, "server")
		for _, o := range []object{created, r.server(id), r.post("/servers/"+id+"/set", in)} {
			for _, p := range want {
				if got := value(o, p.key); got != p.value {
					t.Errorf("%q: got %s %q, want %q", in, p.key, got, p.value)
				}
			}
			for _, p := range o {
				if p.value == "" {
					t.Errorf("%q: got %s without a value, want the key left out", in, p.key)
				}
			}
		}
	}
}

// deviceKey matches what libcloud takes for a drive of a server: all keys of devices that do not
// end like this.
func deviceKey(key string) bool {
	isDevice := strings.HasPrefix(key, "ide:") || strings.HasPrefix(key, "scsi") || strings.HasPrefix(key, "block")
	other := func(suffix string) bool { return strings.HasSuffix(key, suffix) }
	return isDevice && !slices.ContainsFunc([]string{":bytes", ":requests", "media"}, other)
}

func TestEachDeviceTakesADrive(t *testing.T) {
	r := newRig(t)
	drive := r.create(4096)
	for i, device := range devices {
		id := r.createServer(device + " " + drive + "\n" + device + ":media disk\n")
		o := r.server(id)
		if value(o, device) != drive || value(o, device+":media") != "disk" || value(o, "boot") != device {
			t.Errorf("%s: got %v, want the drive %s, and to boot from it", device, o, drive)
		}
		if n := len(slices.DeleteFunc(o, func(p pair) bool { return !deviceKey(p.key) })); n != 1 {
			t.Errorf("%s: got %d keys that libcloud takes for a drive, want 1", device, n)
		}
		next := devices[(i+1)%len(devices)]
		o = r.post("/servers/"+id+"/set", device+" \n"+device+":media\n"+next+" "+drive)
		if _, ok := o.get(device); ok || value(o, next) != drive || value(o, "boot") != next {
			t.Errorf("%s: got %v, want the drive moved to %s", device, o, next)
		}
		r.want(204, "POST", "/servers/"+id+"/destroy", nil)
	}
}

func TestWrongServerKeysAreRefused(t *testing.T) {
	r := newRig(t)
	id := r.createServer("")
	before := r.server(id)
	drive := r.create(4096)
	for _, bad := range []string{
		"name ", "name a\x01", "cpu ", "cpu x", "cpu 0", "cpu -1", "cpu +1", "cpu 1.5", "cpu 1G", "cpu 2147483648",
		"cpu 99999999999999999999", "mem", "mem 0", "mem x", "smp 0", "smp many", "smp Auto",
		"boot x", "boot ide:0:0 ide:2:0", "boot ide:0:0,ide:0:1", "persistent yes", "use a\x7f",
		"ide:0:0 x", "ide:0:1 " + anyID[1:], "block:7 " + anyID, "scsi:0:7 " + drive + "x", "ide:1:0:media floppy",
		"nic:0:model ne2000", "nic:0:dhcp yes", "nic:0:dhcp 1.2.3", "nic:0:dhcp ::1", "nic:1:model x",
		"nic:1:vlan 7", "nic:1:mac x", "nic:1:mac 01:02:03:04:05:06:07:08", "vnc:ip any", "vnc:tls yes",
	} {
		key, _, _ := strings.Cut(bad, " ")
		for path, in := range map[string]string{
			"/servers/create":              minimal + "unknown key\n" + bad,
			"/servers/" + id + "/set":      "name changed\nunknown key\n" + bad,
			"/servers/create/stopped":      minimal + "unknown key\n" + bad,
			"/guests/" + id + "/set":       "unknown key\n" + bad,
			"/guest/create":                "unknown key\n" + minimal + bad,
			"/guest/" + id + "///" + "set": "",
		} {
			if in == "" {
				r.want(404, "POST", path, nil)
				continue
			}
			a := r.want(400, "POST", path, []byte(in))
			contains(t, a.body, "unknown key\n", "\nerrors:"+key+" ")
		}
	}
	a := r.want(400, "POST", "/servers/create", []byte(minimal+"vnc:password 123456789\nvnc:ip auto"))
	contains(t, a.body, "vnc:ip auto", "errors:vnc:password must have at most 8 characters")
	if strings.Contains(string(a.body), "123456789") {
		t.Errorf("got %q, want the password left out", a.body)
	}
	a = r.want(400, "POST", "/servers/create", []byte("smp 2\ncpu x"))
	contains(t, a.body, "smp 2\n", "errors:name is required", "errors:cpu must be", "errors:mem is required")
	contains(t, r.want(400, "POST", "/servers/create", []byte(minimal+"status dead")).body, "errors:status ")
	in := "ide:0:0 " + drive + "\nblock:0 " + drive
	contains(t, r.want(400, "POST", "/servers/"+id+"/set", []byte(in)).body, "errors:block:0 ", "in ide:0:0 already")
	long := "user:a " + strings.Repeat("x", 60<<10)
	r.post("/servers/"+id+"/set", long)
	contains(t, r.want(400, "POST", "/servers/"+id+"/set", []byte("user:b"+long[6:])).body, "errors:system ")
	r.post("/servers/"+id+"/set", "user:a")
	if after := r.server(id); !slices.Equal(after, before) {
		t.Errorf("got %v, want it unchanged, %v", after, before)
	}
	if got := strings.Fields(string(r.get("/servers/list").body)); len(got) != 1 {
		t.Errorf("got the servers %v, want %s alone", got, id)
	}
}

func TestUnknownServerKeysAreIgnored(t *testing.T) {
	r := newRig(t)
	id := r.createServer("tier disk\navoid x\nide:2:0 x\nblock:8 x\nscsi:1:0 x\nide:0:0:size 4\nnic:2:dhcp x\n" +
		"server " + anyID + "\nuser x\nuser: x\nstarted 5\ntx 7\nsandbox:address x\nsandbox:serial x\n")
	o := r.server(id)
	for _, key := range []string{
		"tier", "avoid", "ide:2:0", "block:8", "scsi:1:0", "ide:0:0:size", "nic:2:dhcp", "user:", "started",
		"sandbox:address", "sandbox:serial",
	} {
		if _, ok := o.get(key); ok {
			t.Errorf("got %s in %v, want it ignored", key, o)
		}
	}
	if value(o, "server") != id || value(o, "user") != r.s.account || value(o, "tx") != "0" {
		t.Errorf("got %v, want server, user and tx unchanged", o)
	}
}

func TestEmptyValueUnsetsAServerKey(t *testing.T) {
	r := newRig(t)
	keys := object{
		{"boot", "block:3"}, {"smp", "2"}, {"persistent", "false"}, {"use", "x"}, {"user:a", "b"},
		{"nic:0:model", "virtio"}, {"nic:0:dhcp", "auto"}, {"nic:1:vlan", anyID}, {"nic:1:mac", "02:00:00:00:00:01"},
		{"vnc:ip", "auto"}, {"vnc:password", "x"}, {"vnc:tls", "on"},
		{"block:3", r.create(1)}, {"block:3:media", "cdrom"},
	}
	defaults := map[string]string{"boot": "ide:0:0", "smp": "1", "persistent": "true"}
	for _, end := range []string{"", " "} {
		id := r.createServer(string(encode(keys)))
		var in strings.Builder
		for _, p := range keys {
			in.WriteString(p.key + end + "\n")
		}
		o := r.post("/servers/"+id+"/set", in.String())
		for _, p := range keys {
			if got, want := value(o, p.key), defaults[p.key]; got != want {
				t.Errorf("got %s %q, want %q", p.key, got, want)
			}
		}
	}
}

func TestSetOfARunningServerChangesNoHardware(t *testing.T) {
	r := newRig(t)
	drive, other := r.create(4096), r.create(4096)
	id := r.createServer("ide:0:0 " + drive + "\nnic:0:dhcp auto\nvnc:ip auto\nstatus active\n")
	path := "/servers/" + id + "/set"
	running := r.server(id)
	for _, in := range []string{
		"cpu 2000", "mem 1024", "smp 2", "boot block:0", "ide:0:0", "ide:0:0 " + other, "block:0 " + other,
		"ide:0:0:media cdrom", "nic:0:model virtio", "nic:0:dhcp", "nic:0:dhcp 1.2.3.4", "nic:1:vlan " + anyID,
		"nic:1:mac 02:00:00:00:00:01", "vnc:ip", "vnc:tls on",
	} {
		key, _, _ := strings.Cut(in, " ")
		a := r.want(409, "POST", path, []byte("name changed\n"+in))
		contains(t, a.body, "name changed\n", "errors:"+key+" ", "currently in use")
	}
	if after := r.server(id); !slices.Equal(after, running) {
		t.Errorf("got %v, want it unchanged, %v", after, running)
	}
	contains(t, r.want(400, "POST", path, []byte("cpu x")).body, "errors:cpu must be") // not 409
	o := r.post(path, "name changed\nuse a\nuser:b c\nvnc:password new\nparent p\npersistent false\nunknown x")
	for _, p := range (object{
		{"name", "changed"}, {"use", "a"}, {"user:b", "c"}, {"vnc:password", "new"}, {"persistent", "false"},
		{"status", "active"},
	}) {
		if got := value(o, p.key); got != p.value {
			t.Errorf("got %s %q, want %q", p.key, got, p.value)
		}
	}
	r.post(path, string(encode(o))) // the whole object, as some clients send it: nothing changes
	r.want(204, "POST", "/servers/"+id+"/stop", nil)
	if o := r.post(path, "cpu 2000"); value(o, "cpu") != "2000" || value(o, "nic:0:dhcp") != "auto" {
		t.Errorf("got %v, want cpu 2000 and the address auto", o)
	}
}

func TestDestroyOfARunningServerIsRefused(t *testing.T) {
	r := newRig(t)
	drive := r.create(4096)
	id := r.createServer("ide:0:0 " + drive + "\nstatus active\n")
	other := r.createServer("")
	contains(t, r.want(409, "POST", "/servers/"+id+"/destroy", nil).body, "Server "+id+" is currently in use")
	r.want(409, "POST", "/servers/destroy", []byte("server:0 "+other+"\nserver:1 "+id))
	r.server(other)
	r.want(204, "GET", "/servers/"+id+"/stop", nil)
	r.want(204, "GET", "/servers/"+id+"/destroy", nil)
	r.want(204, "POST", "/drives/"+drive+"/destroy", nil) // it outlasts its server, and is free
	for _, command := range []string{"info", "set", "clone", "destroy", "start", "stop", "shutdown", "reset"} {
		a := r.want(404, "POST", "/servers/"+id+"/"+command, []byte("name x"))
		contains(t, a.body, "errors:system Server "+id+" could not be found.")
		r.want(404, "POST", "/servers/"+id[1:]+"/"+command, []byte("name x"))
	}
}

func TestCommandsOnSeveralServers(t *testing.T) {
	r := newRig(t)
	a, b, c := r.createServer(""), r.createServer("status active\n"), r.createServer("")
	for _, step := range []struct {
		command, input string
		status         int
		want           []string // of the body
	}{
		{"start", "", 400, []string{"errors:server:0 a server is required"}},
		{"start", "server " + a, 400, []string{"server " + a, "errors:server:0 a server is required"}},
		{"start", "server:0 " + a + "\nserver:1 " + anyID, 404, []string{
			"server:0 " + a, "errors:server:1 Server " + anyID + " could not be found."}},
		{"destroy", "server:0 " + a + "\nserver:1 " + c + "\nserver:2 " + a[1:], 404, []string{
			"errors:server:2 Server " + a[1:] + " could not be found."}},
		{"destroy", "server:0", 404, []string{"errors:server:0 Server  could not be found."}},
		{"start", "server:0 " + strings.ToUpper(a) + "\nserver:1 " + b + "\nserver:2 " + a, 200, []string{a + "\n"}},
		{"start", "server:0 " + a, 200, []string{""}},
		{"stop", "server:7 " + c + "\nserver:9 " + b + "\nother x", 200, []string{b + "\n"}},
		{"destroy", "server:0 " + b + "\nserver:1 " + a, 409, []string{"Server " + a + " is currently in use"}},
		{"stop", "server:0 " + b + "\nserver:1 " + a, 200, []string{a + "\n"}},
		{"destroy", "server:5 " + b + "\nserver:1 " + a, 200, []string{b + "\n" + a + "\n"}},
	} {
		res := r.want(step.status, "POST", "/servers/"+step.command, []byte(step.input))
		contains(t, res.body, step.want...)
		if step.status == 200 && string(res.body) != step.want[0] {
			t.Errorf("%s: got %q, want %q", step.command, res.body, step.want[0])
		}
	}
	if got := string(r.get("/servers/list").body); got != c+"\n" {
		t.Errorf("got the servers %q, want %q alone", got, c)
	}
}
