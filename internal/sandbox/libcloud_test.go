package sandbox

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// libcloudStep is a step of a scenario of testdata/libcloud_client.py.
type libcloudStep struct {
	name  string
	check func(r *rig, said map[string]string) // of the sandbox's state; said is what the step reports
}

// libcloudScenario is a function of testdata/libcloud_client.py.
type libcloudScenario struct {
	name   string
	config func(*Config)
	steps  []libcloudStep // in order, without the last
}

var libcloudScenarios = []libcloudScenario{
	{"empty_account", nil, []libcloudStep{{"empty", checkEmptyAccount}}},
	{"credentials", nil, []libcloudStep{{"unchanged", checkNothing}}},
	{"nodes", withFault(Fault{Kind: "imaging", Delay: 500 * time.Millisecond}), []libcloudStep{
		{"created", checkCreated},
		{"running", checkRunning}, {"stopped", checkStopped},
		{"running", checkRunning}, {"stopped", checkStopped},
		{"running", checkRunning}, {"destroyed", checkNodeDestroyed},
		{"clean", checkNothing},
	}},
	{"configuration", nil, []libcloudStep{
		{"created", checkCreatedWithVNC}, {"renamed", checkRenamed},
		{"configured", checkConfigured}, {"unset", checkUnset},
	}},
	{"names", nil, []libcloudStep{{"latin", checkLatinNames}, {"unicode", checkUnicodeNames}}},
	{"oldest_node", nil, []libcloudStep{
		{"first destroyed", checkOtherDestroyed}, {"second destroyed", checkOtherDestroyed}, {"clean", checkNothing},
	}},
	{"drives", nil, []libcloudStep{
		{"held", checkHeldDrives}, {"destroyed", checkDrivesDestroyed}, {"library stays", checkLibraryStays},
	}},
	{"failed_creation", nil, []libcloudStep{
		{"nothing", checkNothing}, {"drive left", checkDriveLeft}, {"nothing", checkNothing},
	}},
	{"quota", withQuotas(Quota{"mem", 768}, Quota{"disk", 120 << 30}), []libcloudStep{
		{"used up", checkUsedUp}, {"used up", checkUsedUp},
	}},
	{"addresses", nil, []libcloudStep{
		{"created", checkAddressesCreated}, {"used", checkAddressUsed}, {"destroyed", checkAddressDestroyed},
		{"none", checkNoAddress},
	}},
}

func withFault(f Fault) func(*Config) { return func(c *Config) { c.Faults = []Fault{f} } }

func withQuotas(q ...Quota) func(*Config) { return func(c *Config) { c.Quotas = q } }

// libcloudCommands are the commands that the driver sends, with its methods.
var libcloudCommands = []string{
	"GET /drives/UUID/info", "GET /drives/info", "GET /drives/standard/info",
	"GET /resources/ip/IP/destroy", "GET /resources/ip/create", "GET /resources/ip/list",
	"GET /servers/UUID/info", "GET /servers/info",
	"POST /drives/UUID/clone", "POST /drives/UUID/destroy",
	"POST /servers/UUID/destroy", "POST /servers/UUID/set", "POST /servers/UUID/start", "POST /servers/UUID/stop",
	"POST /servers/create",
}

// TestLibcloudIsServed runs the 1.0 driver of Apache libcloud, Debian's python3-libcloud, against
// sandboxes: each of its calls.
func TestLibcloudIsServed(t *testing.T) {
	use := &libcloudUse{called: make(map[string]bool), methods: make(map[string]bool), commands: make(map[string]bool)}
	t.Run("scenarios", func(t *testing.T) {
		for _, s := range libcloudScenarios {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel() // the driver sleeps while a drive is imaging
				s.run(t, use)
			})
		}
	})
	if use.ended < len(libcloudScenarios) {
		return // one has failed, or was not chosen to run
	}
	for name := range use.methods {
		if !use.called[name] {
			t.Errorf("no scenario calls the driver's %s, want one", name)
		}
	}
	for _, command := range libcloudCommands {
		if !use.commands[command] {
			t.Errorf("the driver did not send %s, want it sent", command)
		}
	}
}

// libcloudUse is what the scenarios used.
type libcloudUse struct {
	mu       sync.Mutex
	ended    int             // scenarios
	methods  map[string]bool // of the driver
	called   map[string]bool
	commands map[string]bool // "METHOD PATH"
}

var (
	anyUUIDs     = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
	anyAddresses = regexp.MustCompile(`\d+\.\d+\.\d+\.\d+`)
)

// record records a request of the driver, and checks what the driver sends with each.
func (use *libcloudUse) record(t *testing.T, req *http.Request) {
	if !strings.HasPrefix(req.UserAgent(), "libcloud/") {
		return // it is a request of this test
	}
	path := anyAddresses.ReplaceAllString(anyUUIDs.ReplaceAllString(req.URL.Path, "UUID"), "IP")
	use.mu.Lock()
	use.commands[req.Method+" "+path] = true
	use.mu.Unlock()
	for _, key := range []string{"Accept", "Content-Type"} {
		if got := req.Header.Get(key); got != "application/json" {
			t.Errorf("%s: got %s %q, want application/json, which the driver sends with text", path, key, got)
		}
	}
}

// run runs the scenario against a sandbox of its own.
func (s libcloudScenario) run(t *testing.T, use *libcloudUse) {
	r := newRig(t, func(c *Config) {
		c.Intercept = func(_ http.ResponseWriter, req *http.Request) bool {
			use.record(t, req)
			return false
		}
		if s.config != nil {
			s.config(c)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	_, port, _ := strings.Cut(r.http.Listener.Addr().String(), ":")
	// -I: no other module than Debian's, whatever the environment says.
	cmd := exec.CommandContext(ctx, "/usr/bin/python3", "-I", "testdata/libcloud_client.py",
		s.name, port, testUser, testPassword, r.s.account)
	cmd.Env = []string{"HOME=" + t.TempDir(), "LC_ALL=C.UTF-8"} // no proxy, and no .netrc
	cmd.Stderr = t.Output()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.follow(r, use, json.NewDecoder(stdout), stdin)
	if err := cmd.Wait(); err != nil {
		t.Errorf("%s: got %v, want a script that succeeds", s.name, err)
	}
}

// follow checks the steps that the script reports.
func (s libcloudScenario) follow(r *rig, use *libcloudUse, reports *json.Decoder, next io.WriteCloser) {
	defer next.Close() // the script ends
	for _, step := range append(s.steps, libcloudStep{"end", use.end}) {
		said := make(map[string]string)
		if err := reports.Decode(&said); err != nil || said["step"] != step.name {
			r.Errorf("%s: got %v, %v; want step %q", s.name, said, err, step.name)
			return
		}
		step.check(r, said)
		if r.Failed() {
			r.Logf("%s: failed at %v", s.name, said)
			return
		}
		if _, err := io.WriteString(next, "next\n"); err != nil {
			r.Error(err)
			return
		}
	}
}

// end checks the last step of each scenario.
func (use *libcloudUse) end(_ *rig, said map[string]string) {
	use.mu.Lock()
	defer use.mu.Unlock()
	use.ended++
	for name := range strings.FieldsSeq(said["methods"]) {
		use.methods[name] = true
	}
	for name := range strings.FieldsSeq(said["called"]) {
		use.called[name] = true
	}
}

// has checks keys of an object; an empty value stands for no key.
func (r *rig) has(o object, want map[string]string) {
	r.Helper()
	for _, key := range slices.Sorted(maps.Keys(want)) {
		got, ok := o.get(key)
		if got != want[key] || ok != (want[key] != "") {
			r.Errorf("%s: got %q (there: %v), want %q, in %v", key, got, ok, want[key], o)
		}
	}
}

// listed checks the lines of a list command.
func (r *rig) listed(path string, want ...string) {
	r.Helper()
	got := strings.Split(strings.TrimSuffix(string(r.get(path).body), "\n"), "\n")
	if !slices.Equal(got, want) && (len(want) > 0 || got[0] != "") {
		r.Errorf("%s: got %q, want %q", path, got, want)
	}
}

// gone checks that a server or a drive does not exist.
func (r *rig) gone(kind, id string) { r.Helper(); r.want(404, "GET", "/"+kind+"/"+id+"/info", nil) }

func (r *rig) claimOf(server, device string) string {
	return r.s.host + ":guest:" + server + ":" + device
}

func checkNothing(r *rig, _ map[string]string) {
	r.listed("/servers/list")
	r.listed("/drives/list")
	r.listed("/resources/list")
}

func checkEmptyAccount(r *rig, said map[string]string) {
	checkNothing(r, nil)
	r.listed("/drives/standard/img/list", strings.Fields(said["images"])...)
}

func checkCreated(r *rig, said map[string]string) {
	r.has(r.server(said["node"]), map[string]string{
		"name": "web", "status": "active", "cpu": "1", "mem": "512", "smp": "2",
		"boot": "ide:0:0", "ide:0:0": said["drive"], "nic:0:model": "virtio", keyVNC: "", keyPassword: "",
	})
	r.has(r.info(said["drive"]), map[string]string{
		"name": "web", "status": "active", "imaging": "", "size": strconv.FormatInt(50<<30, 10), "tags": "affinity:ssd",
		"claimed": r.claimOf(said["node"], "ide:0:0"), "user": r.s.account,
	})
	size, err := strconv.ParseInt(value(r.info(said["image"]), "size"), 10, 64)
	if err != nil {
		r.Fatal(err)
	}
	equal(r, r.read(said["drive"], 0, size), r.read(said["image"], 0, size))
	equal(r, r.read(said["drive"], size, 1<<20), make([]byte, 1<<20))
}

func checkRunning(r *rig, said map[string]string) {
	r.has(r.server(said["node"]), map[string]string{"status": "active", keyDHCP: said["ip"], "ide:0:0": said["drive"]})
	r.has(r.info(said["drive"]), map[string]string{"claimed": r.claimOf(said["node"], "ide:0:0")})
}

func checkStopped(r *rig, said map[string]string) {
	r.has(r.server(said["node"]), map[string]string{"status": "stopped", keyDHCP: addressAuto, "started": ""})
	r.has(r.info(said["drive"]), map[string]string{"claimed": ""})
}

func checkNodeDestroyed(r *rig, said map[string]string) {
	r.listed("/servers/list")
	r.gone("servers", said["node"])
	r.listed("/drives/list", said["drive"])
	r.has(r.info(said["drive"]), map[string]string{"status": "active", "claimed": ""})
}

func checkCreatedWithVNC(r *rig, said map[string]string) {
	r.has(r.server(said["node"]), map[string]string{
		"name": "Grüße aus Zürich", "status": "active", "smp": "auto", "nic:0:model": "e1000",
		keyDHCP: said["ip"], keyVNC: said["ip"], keyPassword: "geheim12",
	})
}

func checkRenamed(r *rig, said map[string]string) {
	r.has(r.server(said["node"]), map[string]string{
		"name": "größer", "status": "active", keyPassword: "öffne", "cpu": "1", "color": "",
	})
}

func checkConfigured(r *rig, said map[string]string) {
	o, want := r.server(said["node"]), make(map[string]string)
	for _, p := range decode([]byte(said["keys"])) {
		want[p.key] = p.value
		if slices.Contains(devices, p.key) {
			r.has(r.info(p.value), map[string]string{"claimed": r.claimOf(said["node"], p.key)})
		}
	}
	want[keyDHCP], want[keyVNC] = value(o, keyDHCP), value(o, keyDHCP)
	if !strings.HasPrefix(want[keyDHCP], dynamicPrefix) {
		r.Errorf("got address %q, want a dynamic one", want[keyDHCP])
	}
	want["status"] = "active"
	r.has(o, want)
}

func checkUnset(r *rig, said map[string]string) {
	want := map[string]string{
		"status": "stopped", "name": "all", "cpu": "2000", "mem": "1024",
		keyDHCP: addressAuto, "ide:0:0": said["drive"],
	}
	for key := range strings.FieldsSeq(said["gone"]) {
		want[key] = ""
	}
	r.has(r.server(said["node"]), want)
}

func checkLatinNames(r *rig, said map[string]string) {
	r.has(r.server(said["node"]), map[string]string{"name": "a  b: c/d 'e'"})
	if all := strings.Fields(string(r.get("/drives/list").body)); len(all) != 1 { // the driver sent nothing else
		r.Errorf("got the drives %v, want one", all)
	}
}

func checkUnicodeNames(r *rig, said map[string]string) {
	r.has(r.server(said["node"]), map[string]string{"name": "日本 🙂"})
	var names []string
	for id := range strings.FieldsSeq(string(r.get("/drives/list").body)) {
		names = append(names, value(r.info(id), "name"))
	}
	if want := []string{"£ Ångström ß", "plain", "Größe µ", "диск 日本"}; !slices.Equal(names, want) {
		r.Errorf("got the drives %q, want %q", names, want)
	}
}

// checkOtherDestroyed: the oldest node is destroyed, and not its drive; another runs.
func checkOtherDestroyed(r *rig, said map[string]string) {
	r.gone("servers", said["node"])
	r.has(r.info(said["drive"]), map[string]string{"status": "active", "claimed": ""})
	r.has(r.server(said["left"]), map[string]string{"status": "active", "ide:0:0": said["held"]})
	r.has(r.info(said["held"]), map[string]string{"claimed": r.claimOf(said["left"], "ide:0:0")})
}

func checkHeldDrives(r *rig, said map[string]string) {
	for device, name := range map[string]string{"ide:0:0": "own", "block:0": "data", "scsi:0:0": "shared"} {
		r.has(r.server(said["node"]), map[string]string{device: said[name]})
		r.has(r.info(said[name]), map[string]string{"name": name, "claimed": r.claimOf(said["node"], device)})
	}
	r.has(r.info(said["data"]), map[string]string{"claim:type": "exclusive", "readers": r.s.account})
	r.has(r.info(said["shared"]), map[string]string{"claim:type": "shared"})
	r.gone("drives", said["loose"])
	r.listed("/drives/list", said["own"], said["shared"], said["data"])
}

func checkDrivesDestroyed(r *rig, said map[string]string) {
	checkNothing(r, nil)
	r.gone("servers", said["node"])
	for id := range strings.FieldsSeq(said["drives"]) {
		r.gone("drives", id)
	}
}

func checkLibraryStays(r *rig, said map[string]string) {
	checkNothing(r, nil)
	r.gone("servers", said["node"])
	r.gone("drives", said["own"])
	r.has(r.info(said["cd"]), map[string]string{"status": "active", "claimed": "", "user": libraryUser})
}

func checkDriveLeft(r *rig, said map[string]string) {
	r.listed("/servers/list")
	r.listed("/drives/list", said["drive"])
	r.has(r.info(said["drive"]), map[string]string{"name": "no", "status": "active", "claimed": ""})
}

func checkUsedUp(r *rig, said map[string]string) {
	r.has(r.server(said["running"]), map[string]string{"status": "active"})
	r.has(r.server(said["stopped"]), map[string]string{"status": "stopped"})
	r.has(decode(r.get("/usage/info").body), map[string]string{"mem": "512", "disk": strconv.FormatInt(100<<30, 10)})
}

func checkAddressesCreated(r *rig, said map[string]string) {
	ips := strings.Fields(said["ips"])
	r.listed("/resources/ip/list", "ip "+ips[0], "ip "+ips[1])
	for _, ip := range ips {
		r.has(r.address(ip), map[string]string{"resource": ip, "user": r.s.account, "claimed": ""})
	}
}

func (r *rig) address(ip string) object {
	r.Helper()
	return decode(r.get(fmt.Sprintf("/resources/ip/%s/info", ip)).body)
}

func checkAddressUsed(r *rig, said map[string]string) {
	r.has(r.server(said["node"]), map[string]string{"status": "active", keyDHCP: said["ip"]})
	r.has(r.address(said["ip"]), map[string]string{"claimed": said["node"]})
}

func checkAddressDestroyed(r *rig, said map[string]string) {
	r.listed("/resources/ip/list", "ip "+said["left"])
	r.want(404, "GET", "/resources/ip/"+said["ip"]+"/info", nil)
	o := r.server(said["node"])
	r.has(o, map[string]string{"status": "active"})
	if ip := value(o, keyDHCP); !strings.HasPrefix(ip, dynamicPrefix) {
		r.Errorf("got address %q, want a dynamic one", ip)
	}
}

func checkNoAddress(r *rig, _ map[string]string) { r.listed("/resources/ip/list") }
