package sandbox

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// cloneGate holds clones after their bytes are copied.
type cloneGate struct {
	reached chan string
	pass    chan struct{}
}

// newGatedRig is a rig whose clones wait for pass before they become active.
func newGatedRig(t *testing.T) (*rig, cloneGate) {
	r := newRig(t)
	g := cloneGate{make(chan string, 8), make(chan struct{})}
	r.s.copied = func(id string) {
		g.reached <- id
		<-g.pass
	}
	return r, g
}

// awaitReached waits until a clone is at the gate, and returns its UUID.
func (g cloneGate) awaitReached(t *testing.T) string {
	t.Helper()
	select {
	case id := <-g.reached:
		return id
	case <-time.After(time.Minute):
		t.Fatal("got no clone at the gate after a minute")
		return ""
	}
}

// awaitImaged polls until the drive is no longer imaging. Each time it checks that the status and
// the keys imaging and claimed agree.
func (r *rig) awaitImaged(id string) object {
	r.Helper()
	last := -1
	for began := time.Now(); ; {
		if time.Since(began) > time.Minute {
			r.Fatalf("%s is still imaging after a minute", id)
		}
		o := r.info(id)
		imaging, isImaging := o.get("imaging")
		claimed, isClaimed := o.get("claimed")
		if copying := value(o, "status") == "copying"; copying != isImaging || copying != isClaimed {
			r.Fatalf("got %v, want status copying, imaging and claimed together", o)
		}
		if !isImaging {
			return o
		}
		if !strings.Contains(claimed, ":imaging:") {
			r.Fatalf("got claimed %q, want HOST:imaging:UUID", claimed)
		}
		if imaging != "queued" {
			percent, err := strconv.Atoi(strings.TrimSuffix(imaging, "%"))
			if err != nil || percent < last || percent > 99 {
				r.Fatalf("got imaging %q after %d%%, want at least that, and at most 99%%", imaging, last)
			}
			last = percent
		}
		runtime.Gosched()
	}
}

var imagingClaim = regexp.MustCompile(`^[0-9a-f-]{36}:imaging:[0-9a-f-]{36}$`)

func TestCloneIsCopyingAndThenActive(t *testing.T) {
	r, gate := newGatedRig(t)
	const size = 1<<20 + 7
	src := r.create(size)
	data := noise(size, 1)
	r.write(src, 0, data)
	r.post("/drives/"+src+"/set", "tags a b\nreaders "+anyID+"\nclaim:type shared\nuse web\nuser:a b")
	o := r.post("/drives/"+src+"/clone", "name copy\nsize 2M\ntags cat:mouse")
	id := value(o, "drive")
	if id == src || value(o, "name") != "copy" || value(o, "size") != "2097152" {
		t.Fatalf("got %v, want a new drive named copy of 2 MiB", o)
	}
	for key, want := range map[string]string{
		"tags": "cat:mouse", "readers": "", "claim:type": "exclusive", "use": "web", "user:a": "",
	} {
		if got := value(o, key); got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
	if got := gate.awaitReached(t); got != id {
		t.Fatalf("got a copy to %s, want %s", got, id)
	}
	for _, o := range []object{o, r.info(id)} {
		claimed := imagingClaim.MatchString(value(o, "claimed"))
		if value(o, "status") != "copying" || !claimed || value(o, "imaging") == "" {
			t.Errorf("got %v, want a drive that is imaging", o)
		}
	}
	checkBusyTarget(r, id)
	checkBusySource(r, src)
	equal(t, r.read(src, 0, size), data)
	gate.pass <- struct{}{}
	o = r.awaitImaged(id)
	if value(o, "status") != "active" {
		t.Fatalf("got %v, want status active", o)
	}
	r.want(204, "POST", "/drives/"+src+"/destroy", nil) // the source is free as soon as the clone is active
	equal(t, r.read(id, 0, 2<<20), concat(data, make([]byte, 2<<20-size)))
	r.write(id, 0, []byte("x"))
}

func checkBusyTarget(r *rig, id string) {
	r.Helper()
	for path, body := range map[string]string{
		"read/0/1": "", "write": "x", "set": "name x", "clone": "name x", "destroy": "",
	} {
		a := r.want(409, "POST", "/drives/"+id+"/"+path, []byte(body))
		contains(r, a.body, "currently in use")
	}
}

func checkBusySource(r *rig, src string) {
	r.Helper()
	for path, body := range map[string]string{"write": "x", "set": "size 4M", "destroy": ""} {
		a := r.want(409, "POST", "/drives/"+src+"/"+path, []byte(body))
		contains(r, a.body, "currently in use")
	}
	o := r.post("/drives/"+src+"/set", "name renamed")
	if value(o, "name") != "renamed" || !imagingClaim.MatchString(value(o, "claimed")) {
		r.Errorf("got %v, want a source that is renamed and claimed", o)
	}
}

func TestClonesOfOneSourceQueue(t *testing.T) {
	r, gate := newGatedRig(t)
	src := r.create(1 << 20)
	r.s.slots <- struct{}{} // both slots are in use
	r.s.slots <- struct{}{}
	var ids []string
	for range 3 {
		o := r.post("/drives/"+src+"/clone", "name copy")
		if got := value(o, "imaging"); got != "queued" {
			t.Errorf("got imaging %q, want queued", got)
		}
		ids = append(ids, value(o, "drive"))
	}
	if got := len(strings.Fields(value(r.info(src), "claimed"))); got != 3 {
		t.Errorf("got %d claims, want 3", got)
	}
	<-r.s.slots
	for range ids {
		gate.awaitReached(t)
		gate.pass <- struct{}{}
	}
	for _, id := range ids {
		if o := r.awaitImaged(id); value(o, "status") != "active" {
			t.Errorf("got %v, want status active", o)
		}
	}
	if o := r.info(src); value(o, "claimed") != "" {
		t.Errorf("got %v, want a source without claims", o)
	}
}

func TestBadCloneMakesNoDrive(t *testing.T) {
	r := newRig(t)
	src := r.create(4096)
	for in, key := range map[string]string{
		"": "errors:name", "name x\nsize 4095": "errors:size", "name x\nsize 0": "errors:size",
		"name x\nsize x": "errors:size", "name x\nclaim:type y": "errors:claim:type",
	} {
		contains(t, r.want(400, "POST", "/drives/"+src+"/clone", []byte(in)).body, key)
	}
	r.want(404, "POST", "/drives/malformed/clone", []byte("name x"))
	if got := strings.Fields(string(r.get("/drives/list").body)); len(got) != 1 {
		t.Errorf("got %v, want %s alone", got, src)
	}
}

func TestCloneIsSparse(t *testing.T) {
	r := newRig(t)
	src := r.create(1 << 40)
	data := noise(granule, 1)
	r.write(src, 1<<39, data)
	id := value(r.post("/drives/"+src+"/clone", "name x\ndriveType ssd"), "drive")
	if o := r.awaitImaged(id); value(o, "tags") != tagSSD {
		t.Errorf("got %v, want the tag %s", o, tagSSD)
	}
	if got := allocated(t, r, id); got > 2*granule {
		t.Errorf("got %d bytes allocated, want at most %d", got, 2*granule)
	}
	equal(t, r.read(id, 1<<39, granule), data)
}

func TestCopyThroughMemoryEqualsItsSource(t *testing.T) {
	dir := t.TempDir()
	data := concat(noise(300<<10, 1), make([]byte, 300<<10), noise(5, 2))
	if err := os.WriteFile(filepath.Join(dir, "src"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	src, err := root.Open("src")
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	dst, err := root.Create("dst")
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	if err := copyThrough(dst, src, 0, int64(len(data))); err != nil {
		t.Fatal(err)
	}
	got, err := root.ReadFile("dst")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, got, data)
	if err := copyThrough(dst, src, int64(len(data))-1, 2); err == nil {
		t.Error("copy past the end of the source: got no error, want one")
	}
}

func TestImagingLastsAsLongAsTheFaultSays(t *testing.T) {
	r := newRig(t)
	const least = 150 * time.Millisecond
	r.faults("imaging=" + least.String())
	src := r.create(1 << 20)
	began := time.Now()
	o := r.post("/drives/"+src+"/clone", "name x")
	if value(o, "status") != "copying" {
		t.Fatalf("got %v, want status copying", o)
	}
	if o = r.awaitImaged(value(o, "drive")); value(o, "status") != "active" {
		t.Errorf("got %v, want status active", o)
	}
	if took := time.Since(began); took < least {
		t.Errorf("got %v of imaging, want at least %v", took, least)
	}
	if got := r.s.FaultCounts()["imaging"]; got != 1 {
		t.Errorf("got %d imaging faults counted, want 1", got)
	}
}

func TestInterruptedCloneIsInactive(t *testing.T) {
	cfg := testConfig(t)
	r := serveRig(t, cfg)
	r.faults("imaging=1h")
	src := r.create(4096)
	id := value(r.post("/drives/"+src+"/clone", "name x"), "drive")
	r.stop()
	r = serveRig(t, cfg)
	o := r.info(id)
	if value(o, "status") != "inactive" || value(o, "imaging") != "" || value(o, "claimed") != "" {
		t.Errorf("got %v, want an inactive drive without imaging and claimed", o)
	}
	for path, body := range map[string]string{"read/0/1": "", "write": "x", "clone": "name x", "set": "name x"} {
		r.want(400, "POST", "/drives/"+id+"/"+path, []byte(body))
	}
	r.write(src, 0, []byte("x")) // no longer claimed
	r.want(204, "POST", "/drives/"+id+"/destroy", nil)
	r.want(404, "GET", "/drives/"+id+"/info", nil)
}

func TestFailedCloneIsInactive(t *testing.T) {
	r := newRig(t)
	src := r.create(4096)
	r.write(src, 0, []byte("x"))
	if err := os.Remove(r.s.drives.dataPath(src)); err != nil {
		t.Fatal(err)
	}
	o := r.awaitImaged(value(r.post("/drives/"+src+"/clone", "name x"), "drive"))
	if value(o, "status") != "inactive" {
		t.Errorf("got %v, want status inactive", o)
	}
}

func TestCloseStopsClones(t *testing.T) {
	s, err := New(testConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.drives.create(uuid.NewString(), attributes{name: "x", size: 1, claim: claimExclusive}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetFaults([]Fault{{Kind: "imaging", Delay: time.Hour}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.startClone(d, d.attrs); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	last := s.drives.list()[1]
	if last.status != statusInactive || last.imaging != nil || len(d.claims) != 0 {
		t.Errorf("got status %v, claims %v; want inactive, none", last.status, d.claims)
	}
	var p *statusError
	if _, err := s.startClone(d, d.attrs); !errors.As(err, &p) || p.status != 500 {
		t.Errorf("clone after Close: got %v, want status 500", err)
	}
}
