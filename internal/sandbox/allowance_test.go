package sandbox

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// quota sets quotas in the form of ParseQuota.
func quota(t testing.TB, specs ...string) func(*Config) {
	t.Helper()
	return func(cfg *Config) {
		for _, spec := range specs {
			q, err := ParseQuota(spec)
			if err != nil {
				t.Fatal(err)
			}
			cfg.Quotas = append(cfg.Quotas, q)
		}
	}
}

func TestQuotaIsReadInItsUnits(t *testing.T) {
	for spec, want := range map[string]Quota{
		"disk=10G": {"disk", 10 << 30}, "disk=5": {"disk", 5}, "cpu=4000": {"cpu", 4000}, "mem=2048": {"mem", 2048},
		"mem=2G": {"mem", 2048}, "mem=512M": {"mem", 512}, "disk=0": {"disk", 0},
	} {
		if got, err := ParseQuota(spec); err != nil || got != want {
			t.Errorf("%s: got %v, %v; want %v", spec, got, err, want)
		}
	}
	for _, spec := range []string{
		"", "disk", "disk=", "disk=-1", "disk=1.5G", "cpu=2G", "mem=1k", "xfer=1G", "size=1", "=1",
	} {
		if got, err := ParseQuota(spec); err == nil {
			t.Errorf("%s: got %v, want an error", spec, got)
		}
	}
}

// checkDiskQuota tries each command that makes an account use more disk, on an account with 6 of 10
// MiB in use.
func checkDiskQuota(t *testing.T, r *rig, id, why string) {
	t.Helper()
	for _, c := range []struct{ path, body string }{
		{"/drives/create", "name x\nsize 5M"},
		{"/drives/create", "name x\nsize 4194305"},
		{"/drives/" + id + "/set", "size 12M"},
		{"/drives/" + id + "/set", "size 10485761"},
		{"/drives/" + id + "/clone", "name x"},
	} {
		a := r.want(400, "POST", c.path, []byte(c.body))
		contains(t, a.body, "errors:size ", " bytes of disk are required, and 4194304 are available: "+why)
	}
	got := strings.Fields(string(r.get("/drives/list").body))
	if len(got) != 1 || value(r.info(id), "size") != "6291456" {
		t.Errorf("got the drives %v, want the first as it was", got)
	}
}

func TestDiskQuotaLimitsDrives(t *testing.T) {
	r := newRig(t, at(&clock{now: testTime}, "10"), quota(t, "disk=10M"))
	id := r.create(6 << 20)
	r.keys("usage", decode(r.get("/usage/info").body),
		"disk", "6291456", "disk:burst", "6291456", "disk:limit", "10485760")
	checkDiskQuota(t, r, id, "the limit is 10485760, which is the quota")
	r.post("/drives/"+id+"/set", "size 10M")
	r.post("/drives/"+id+"/set", "size 10M\nname y")
	r.post("/drives/"+id+"/set", "size 1M")
	r.create(9 << 20)
	r.post("/drives/"+id+"/set", "name full")
	r.subscribe("disk 1G") // raises the limit
	r.keys("usage", decode(r.get("/usage/info").body), "disk:burst", "0", "disk:limit", "1084227584")
	r.create(1 << 30)
	r.want(400, "POST", "/drives/create", []byte("name x\nsize 1"))
}

// TestWithoutMoneyThereIsNoBurst: an account whose balance is used up has what it is subscribed to.
func TestWithoutMoneyThereIsNoBurst(t *testing.T) {
	c := &clock{now: testTime}
	r := newRig(t, at(c, "0.12"))
	id := r.create(1 << 20)
	r.subscribe("disk 1G")
	if got := r.balance(); got != "0.00" {
		t.Fatalf("got the balance %s, want 0.00", got)
	}
	r.keys("usage", decode(r.get("/usage/info").body), "cpu:limit", "0", "mem:limit", "0", "disk:limit", "1073741824")
	a := r.want(400, "POST", "/drives/create", []byte("name x\nsize 1G"))
	contains(t, a.body, "errors:size 1073741824 bytes of disk are required, and 1072693248 are available: "+
		"the limit is 1073741824, which is what the account is subscribed to, because its balance is used up. Free")
	r.create(1 << 20)
	c.set(testTime.AddDate(0, 1, 0)) // the subscription has ended
	r.want(400, "POST", "/drives/create", []byte("name x\nsize 1"))
	r.want(400, "POST", "/drives/"+id+"/set", []byte("size 2M"))
	r.post("/drives/"+id+"/set", "size 1k") // more than the limit is in use, and less is allowed
	r.want(204, "POST", "/drives/"+id+"/destroy", nil)
}

// TestConcurrentCreatesKeepTheQuota: of many creates at the same time as many succeed as fit.
func TestConcurrentCreatesKeepTheQuota(t *testing.T) {
	r := newRig(t, quota(t, "disk=10M"))
	var group sync.WaitGroup
	var made atomic.Int64
	for range 20 {
		group.Go(func() {
			a, err := r.try(r.request("POST", "/drives/create", strings.NewReader("name x\nsize 3M")))
			switch {
			case err != nil || a.status != 200 && a.status != 400:
				t.Errorf("got %d %q, %v; want 200 or 400", a.status, a.body, err)
			case a.status == 200:
				made.Add(1)
			}
		})
	}
	group.Wait()
	if made.Load() != 3 {
		t.Errorf("got %d drives of 3 MiB in a quota of 10 MiB, want 3", made.Load())
	}
}

// TestQuotaLimitsServersThatRun: cpu and mem are used by servers while they run.
func TestQuotaLimitsServersThatRun(t *testing.T) {
	c := &clock{now: testTime}
	cfg := testConfig(t)
	at(c, "1000")(&cfg)
	quota(t, "cpu=3000", "mem=2G")(&cfg)
	r := serveRig(t, cfg)
	usage := func(want ...string) {
		t.Helper()
		r.keys("usage", decode(r.get("/usage/info").body), want...)
	}
	refused := func(path, input, text string) {
		t.Helper()
		contains(t, r.want(400, "POST", path, []byte(input)).body, text)
	}
	const create = "/servers/create"
	first := value(r.post(create, "name a\ncpu 2000\nmem 512\nstatus active"), "server")
	second := value(r.post(create, "name b\ncpu 1001\nmem 512"), "server")
	usage("cpu", "2000", "cpu:burst", "2000", "cpu:sub", "0", "cpu:limit", "3000", "mem", "512", "mem:limit", "2048")
	const cpu = "errors:cpu 1001 core MHz of CPU are required, and 1000 are available: the limit is 3000, " +
		"which is the quota"
	refused("/servers/"+second+"/start", "", cpu)
	refused("/servers/start", "server:0 "+second, cpu)
	refused(create, "name c\ncpu 1001\nmem 512\nstatus active", cpu)
	refused(create, "name c\ncpu 500\nmem 1537\nstatus active",
		"errors:mem 1537 MB of RAM are required, and 1536 are available")
	refused(create, "name c\ncpu 3001\nmem 512", "errors:cpu 3001 core MHz") // it could never run
	if got := len(r.objects("GET", "/servers/info", "")); got != 2 {
		t.Errorf("got %d servers, want 2", got)
	}
	r.post("/servers/"+first+"/start", "") // it runs
	r.want(204, "POST", "/servers/"+first+"/stop", nil)
	usage("cpu", "0", "mem", "0")
	r.post("/servers/"+second+"/start", "")
	usage("cpu", "1001", "mem", "512")
	r.subscribe("cpu 2000")
	usage("cpu", "1001", "cpu:burst", "0", "cpu:sub", "2000", "cpu:limit", "5000")
	r.post("/servers/"+first+"/start", "")
	usage("cpu", "3001", "cpu:burst", "1001")
	c.set(testTime.AddDate(0, 1, 0)) // the subscription has ended; what runs goes on
	r.stop()
	r = serveRig(t, cfg)
	usage("cpu", "3001", "cpu:burst", "3001", "cpu:sub", "0", "cpu:limit", "3000")
	r.want(204, "POST", "/servers/"+first+"/shutdown", nil)
}

// TestQuotaLimitsTheClonesOfAServer: a clone of a server clones its drives.
func TestQuotaLimitsTheClonesOfAServer(t *testing.T) {
	r := newRig(t, quota(t, "disk=10M"))
	id := r.createServer("ide:0:0 " + r.create(4<<20) + "\n")
	clone := "/servers/" + id + "/clone"
	r.awaitImaged(value(r.post(clone, "name x"), "ide:0:0"))
	a := r.want(400, "POST", clone, []byte("name y"))
	contains(t, a.body, "4194304 bytes of disk are required, and 2097152 are available")
	r.keys("usage", decode(r.get("/usage/info").body), "disk", "8388608")
	if got := len(r.objects("GET", "/servers/info", "")); got != 2 {
		t.Errorf("got %d servers, want 2", got)
	}
}

// TestConcurrentStartsKeepTheQuota: of many servers that start at the same time as many do as fit.
func TestConcurrentStartsKeepTheQuota(t *testing.T) {
	r := newRig(t, quota(t, "cpu=5000"))
	var group sync.WaitGroup
	var started atomic.Int64
	for range 12 {
		id := value(r.post("/servers/create", "name a\ncpu 1500\nmem 512"), "server")
		group.Go(func() {
			a, err := r.try(r.request("POST", "/servers/"+id+"/start", nil))
			switch {
			case err != nil || a.status != 200 && a.status != 400:
				t.Errorf("got %d %q, %v; want 200 or 400", a.status, a.body, err)
			case a.status == 200:
				started.Add(1)
			}
		})
	}
	group.Wait()
	if started.Load() != 3 {
		t.Errorf("got %d servers of 1500 MHz in a quota of 5000, want 3", started.Load())
	}
}
