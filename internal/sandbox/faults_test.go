package sandbox

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"math/bits"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestParseFaultReadsAllKinds(t *testing.T) {
	for spec, want := range map[string]Fault{
		"409=5%": {Kind: "409", Percent: 5}, "corrupt-write=0.1%": {Kind: "corrupt-write", Percent: 0.1},
		"reset=0%": {Kind: "reset"}, "504=100%": {Kind: "504", Percent: 100},
		"latency=20ms":   {Kind: "latency", Delay: 20 * time.Millisecond},
		"bandwidth=100M": {Kind: "bandwidth", Rate: 100 << 20}, "bandwidth=64KiB": {Kind: "bandwidth", Rate: 64 << 10},
		"imaging=2s":  {Kind: "imaging", Delay: 2 * time.Second},
		"shutdown=1m": {Kind: "shutdown", Delay: time.Minute}, "shutdown=0s": {Kind: "shutdown"},
		"shutdown=never": {Kind: "shutdown", Delay: Never},
	} {
		got, err := ParseFault(spec)
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v; want %+v", spec, got, err, want)
		}
	}
	for _, spec := range []string{
		"", "=", "409", "409=", "409=5", "409=-1%", "409=101%", "409=NaN%", "409=x%", "409=%",
		"latency=5", "latency=-1s", "latency=5%",
		"bandwidth=0", "bandwidth=-1", "bandwidth=1.5M", "bandwidth=5%",
		"bandwidth=5iB", "bandwidth=iB", "bandwidth=MiB", "imaging=x", "imaging=never",
		"shutdown=-1s", "shutdown=", "shutdown=5%", "shutdown=Never",
	} {
		if f, err := ParseFault(spec); err == nil {
			t.Errorf("%q: got %+v, want an error", spec, f)
		}
	}
	_, err := ParseFault("fire=5%")
	if err == nil {
		t.Fatal("fire=5%: got no error, want one")
	}
	for _, name := range append(faultNames[:], "fire") {
		contains(t, []byte(err.Error()), name)
	}
}

func TestFaultsKeepTheirPercentages(t *testing.T) {
	c := newFaultChooser(1)
	percent := [faultKinds]float64{faultConflict: 5, faultTimeout: 2, faultFailure: 1, faultReset: 1, faultTruncate: 50}
	kinds := []faultKind{faultReset, faultFailure, faultTimeout, faultConflict} // no truncate
	counts := map[faultKind]int{}
	const requests = 100_000
	for range requests {
		fault := c.choose(&percent, kinds)
		counts[fault.kind]++
		if fault.at < 0 || fault.at >= 1 {
			t.Fatalf("got %+v, want at from 0 to less than 1", fault)
		}
	}
	for kind, want := range map[faultKind]float64{
		faultConflict: 5, faultTimeout: 2, faultFailure: 1, faultReset: 1, faultTruncate: 0, noFault: 91,
	} {
		if got := float64(counts[kind]) * 100 / requests; got < want*0.9 || got > want*1.1 {
			t.Errorf("kind %d: got %v%%, want %v%%", kind, got, want)
		}
	}
}

// checkCounts checks that kind was injected least to most times, and no other kind at all.
func (r *rig) checkCounts(kind string, least, most int64) {
	r.Helper()
	counts := r.s.FaultCounts()
	if len(counts) != int(faultKinds) {
		r.Errorf("got counts of %d kinds, want %d", len(counts), faultKinds)
	}
	for name, n := range counts {
		from, to := int64(0), int64(0)
		if name == kind {
			from, to = least, most
		}
		if n < from || n > to {
			r.Errorf("got %d faults of kind %s, want %d to %d", n, name, from, to)
		}
	}
}

func TestConflictFaultChangesNothing(t *testing.T) {
	r := newRig(t)
	r.faults("409=100%")
	id := r.create(4096)
	r.info(id)
	r.get("/drives/list")
	commands := []string{"write", "read/0/1", "set", "clone", "destroy"}
	for _, path := range commands {
		a := r.want(409, "POST", "/drives/"+id+"/"+path, []byte("name x"))
		contains(t, a.body, "currently in use")
	}
	r.checkCounts("409", int64(len(commands)), int64(len(commands)))
	r.faults()
	if o := r.info(id); value(o, "name") != "test" {
		t.Errorf("got %v, want the name test", o)
	}
	equal(t, r.read(id, 0, 4), make([]byte, 4))
}

// TestFaultsHitCommandsOnServers: 409 what changes a server, 500 and 504 every command. A 504 may
// come after the command, but never after one that makes a server.
func TestFaultsHitCommandsOnServers(t *testing.T) {
	r := newRig(t)
	id := r.createServer("")
	several := []byte(minimal + "server:0 " + id)
	changes := []string{
		id + "/set", id + "/clone", id + "/start", id + "/stop", id + "/shutdown", id + "/reset", id + "/destroy",
		"start", "stop", "destroy",
	}
	others := []string{"list", "info", "create", "create/stopped", id + "/info"}
	r.faults("409=100%")
	for _, path := range changes {
		contains(t, r.want(409, "POST", "/servers/"+path, several).body, "currently in use")
	}
	r.get("/servers/info")
	r.want(404, "POST", "/servers/"+anyID+"/start", nil) // meets none
	r.checkCounts("409", int64(len(changes)), int64(len(changes)))
	r.faults("500=100%")
	for _, path := range append(others, changes...) {
		r.want(500, "POST", "/servers/"+path, several)
	}
	r.faults("504=100%")
	started := 0
	for range 20 {
		r.want(504, "POST", "/servers/create", several)
		r.want(504, "POST", "/servers/"+id+"/clone", several)
		r.want(504, "POST", "/servers/"+id+"/start", nil)
		r.faults()
		if value(r.server(id), "status") == serverActive {
			started++
		}
		r.want(204, "POST", "/servers/"+id+"/stop", nil)
		r.faults("504=100%")
	}
	r.faults()
	if started == 0 || started == 20 {
		t.Errorf("got %d of 20 starts that took effect, want some and not all", started)
	}
	if got := string(r.get("/servers/list").body); got != id+"\n" {
		t.Errorf("got the servers %q, want %s alone", got, id)
	}
}

func TestFailureFaultChangesNothing(t *testing.T) {
	r := newRig(t)
	id := r.create(4096)
	r.faults("500=100%")
	paths := []string{
		"create", "list", "info", "standard/list", id + "/info", id + "/write", id + "/read/0/1", id + "/destroy",
	}
	for _, path := range paths {
		r.want(500, "POST", "/drives/"+path, []byte("name x\nsize 1"))
	}
	r.checkCounts("500", int64(len(paths)), int64(len(paths)))
	r.get("/profile/info")
	r.want(404, "GET", "/nothing", nil)
	r.want(405, "GET", "/drives/create", nil)
	r.faults()
	if got := strings.Fields(string(r.get("/drives/list").body)); len(got) != 1 {
		t.Errorf("got the drives %v, want %s alone", got, id)
	}
}

func TestTimeoutFaultComesAfterHalfOfTheWrites(t *testing.T) {
	r := newRig(t)
	const writes = 100
	id := r.create(writes)
	r.faults("504=100%")
	for i := range writes {
		r.want(504, "POST", "/drives/"+id+"/write/"+strconv.Itoa(i), []byte{1})
	}
	for range 10 {
		r.want(504, "POST", "/drives/create", []byte("name x\nsize 1"))
		r.want(504, "POST", "/drives/"+id+"/clone", []byte("name x"))
	}
	r.checkCounts("504", writes+20, writes+20)
	r.faults()
	if stored := bytes.Count(r.read(id, 0, writes), []byte{1}); stored < writes/4 || stored > writes*3/4 {
		t.Errorf("got %d of %d writes stored, want about half", stored, writes)
	}
	if got := strings.Fields(string(r.get("/drives/list").body)); len(got) != 1 {
		t.Errorf("got the drives %v, want %s alone", got, id)
	}
}

func TestResetFaultCutsTheConnection(t *testing.T) {
	r := newRig(t)
	id := r.create(1 << 20)
	data := noise(1<<20, 1)
	r.write(id, 0, data)
	r.faults("reset=100%")
	const tries = 20
	partial := 0
	for range tries {
		c := r.dial()
		if _, err := io.WriteString(c, r.head("GET /drives/"+id+"/read/0/1M")); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(c)
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("after %d bytes: got %v, want %v", len(got), err, syscall.ECONNRESET)
		}
		if len(got) > 0 {
			partial++
			contains(t, got, "Content-Length: 1048576")
		}
	}
	if partial == 0 || partial == tries {
		t.Errorf("got %d of %d reads cut in the middle, want some and not all", partial, tries)
	}
	r.checkCounts("reset", tries, tries)
	other := noise(1<<20, 2)
	for range tries {
		if a, err := r.try(r.request("POST", "/drives/"+id+"/write", bytes.NewReader(other))); err == nil {
			t.Errorf("write: got status %d, want a cut connection", a.status)
		}
	}
	if _, err := r.try(r.request("POST", "/drives/"+id+"/destroy", nil)); err == nil {
		t.Error("destroy: got a response, want a cut connection")
	}
	r.faults()
	got := r.read(id, 0, 1<<20)
	same := 0
	for same < len(got) && got[same] == other[same] {
		same++
	}
	equal(t, got[same:], data[same:])
	if same == 0 {
		t.Error("got no write cut in the middle, want some")
	}
}

func TestTruncateFaultCutsBodies(t *testing.T) {
	r := newRig(t)
	id := r.create(1 << 20)
	data := noise(1<<20, 1)
	r.faults("truncate=100%")
	for _, encoding := range []string{"identity", "gzip"} {
		body := data
		if encoding == "gzip" {
			body = gzipped(t, data)
		}
		req := r.request("POST", "/drives/"+id+"/write", bytes.NewReader(body), "Content-Encoding", encoding)
		if a, err := r.try(req); err == nil {
			t.Errorf("write: got status %d, want a cut connection", a.status)
		}
	}
	if _, err := r.try(r.request("POST", "/drives/"+id+"/write", nil, "Content-Length", "0")); err == nil {
		t.Error("empty write: got a response, want a cut connection")
	}
	for _, path := range []string{"/read/0/1M", "/read/1/1"} {
		a, err := r.try(r.request("GET", "/drives/"+id+path, nil))
		if !errors.Is(err, io.ErrUnexpectedEOF) || a.status != 200 {
			t.Errorf("%s: got %d, %d bytes, %v; want 200 and %v", path, a.status, len(a.body), err, io.ErrUnexpectedEOF)
		}
	}
	r.info(id)
	r.checkCounts("truncate", 5, 5)
	r.faults()
	got := r.read(id, 0, 1<<20)
	n := 1<<20 - len(bytes.TrimRight(got, "\x00"))
	equal(t, got[:1<<20-n], data[:1<<20-n])
	if n == 0 || n == 1<<20 {
		t.Errorf("got %d bytes missing, want some and not all", n)
	}
}

// wrongBits is the number of bits that differ.
func wrongBits(a, b []byte) (n int) {
	for i := range a {
		n += bits.OnesCount8(a[i] ^ b[i])
	}
	return n
}

func TestCorruptWriteFaultFlipsOneBit(t *testing.T) {
	r := newRig(t)
	const size = 5<<20 + 3
	for _, data := range [][]byte{noise(size, 1), make([]byte, size), {0}} {
		for _, encoding := range []string{"identity", "gzip"} {
			id := r.create(int64(len(data)))
			body := data
			if encoding == "gzip" {
				body = gzipped(t, data)
			}
			r.faults("corrupt-write=100%")
			r.want(204, "POST", "/drives/"+id+"/write", body, "Content-Encoding", encoding)
			r.faults()
			if n := wrongBits(r.read(id, 0, int64(len(data))), data); n != 1 {
				t.Errorf("%d bytes, %s: got %d wrong bits, want 1", len(data), encoding, n)
			}
		}
	}
	id := r.create(1)
	r.faults("corrupt-write=100%")
	r.write(id, 0, nil)
	r.read(id, 0, 1)
	r.checkCounts("corrupt-write", 6, 6)
}

func TestCorruptReadFaultFlipsOneBit(t *testing.T) {
	r := newRig(t)
	const size = 1<<20 + 3
	text := bytes.Repeat([]byte("abcdefgh"), size/8+1)[:size]
	id := r.create(size)
	r.write(id, 0, text)
	r.faults("corrupt-read=100%")
	if n := wrongBits(r.read(id, 0, size), text); n != 1 {
		t.Errorf("got %d wrong bits, want 1", n)
	}
	a := r.want(200, "GET", "/drives/"+id+"/read/0/"+strconv.Itoa(size), nil, "Accept-Encoding", "gzip")
	if n := wrongBits(gunzipped(t, a.body), text); n != 1 {
		t.Errorf("gzip: got %d wrong bits, want 1", n)
	}
	r.checkCounts("corrupt-read", 2, 2)
	r.faults()
	equal(t, r.read(id, 0, size), text)
}

func TestLatencyFaultDelays(t *testing.T) {
	r := newRig(t)
	r.faults("latency=60ms")
	began := time.Now()
	r.get("/drives/list")
	if took := time.Since(began); took < 60*time.Millisecond {
		t.Errorf("got a response after %v, want at least 60ms", took)
	}
	r.get("/profile/info")
	r.checkCounts("latency", 1, 1)
}

func TestBandwidthFaultLimitsTheRate(t *testing.T) {
	r := newRig(t)
	id := r.create(1 << 20)
	r.faults("bandwidth=10M")
	data := noise(1<<20, 1)
	began := time.Now()
	r.write(id, 0, data)
	equal(t, r.read(id, 0, 1<<20), data)
	if took := time.Since(began); took < 180*time.Millisecond { // 2 MiB at 10 MiB/s, less the burst
		t.Errorf("got 2 MiB in %v, want at least 180ms", took)
	}
	r.checkCounts("bandwidth", 2, 2)
}

func TestReadsAndWritesShareTheBandwidth(t *testing.T) {
	for _, rate := range []int64{1000, 1 << 20, 100 << 20} {
		b := newBandwidth(rate)
		req := httptest.NewRequest("GET", "/", nil)
		delayed := 0
		r := &limitedReader{req, bytes.NewReader(make([]byte, rate/20)), b, func() { delayed++ }}
		w := &limitedWriter{req, io.Discard, b, func() { delayed++ }}
		began := time.Now()
		n, err := io.Copy(w, r)
		if n != rate/20 || err != nil {
			t.Fatalf("rate %d: got %d bytes, %v; want %d", rate, n, err, rate/20)
		}
		took := time.Since(began)
		if want := 85 * time.Millisecond; took < want { // a tenth of a second, less the burst of a hundredth
			t.Errorf("rate %d: got %v, want at least %v", rate, took, want)
		}
		if delayed == 0 {
			t.Errorf("rate %d: got no call of delayed, want some", rate)
		}
	}
}

func TestBandwidthDoesNotDelayAClientThatIsGone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	req := httptest.NewRequest("GET", "/", nil).WithContext(ctx)
	w := &limitedWriter{req, io.Discard, newBandwidth(1), cancel}
	if n, err := w.Write(make([]byte, 1000)); n != 1000 || err != nil { // else it takes a quarter of an hour
		t.Errorf("got %d bytes, %v; want 1000 at once", n, err)
	}
}

func TestResetWithoutHijackAborts(t *testing.T) {
	s, err := New(testConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.SetFaults([]Fault{{Kind: "reset", Percent: 100}}); err != nil {
		t.Fatal(err)
	}
	req := httptest.NewRequest("GET", "/drives/list", nil)
	req.SetBasicAuth(testUser, testPassword)
	defer func() {
		if got := recover(); got != http.ErrAbortHandler { //nolint:errorlint // panics with itself
			t.Errorf("got panic %v, want %v", got, http.ErrAbortHandler)
		}
	}()
	s.Handler().ServeHTTP(httptest.NewRecorder(), req)
	t.Error("got a response, want a panic")
}

func TestPlainHasNoFaults(t *testing.T) {
	s, err := New(testConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.SetFaults([]Fault{{Kind: "500", Percent: 100}}); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	s.Plain().ServeHTTP(w, httptest.NewRequest("POST", "/drives/create", strings.NewReader("name x\nsize 1")))
	if w.Code != 200 {
		t.Errorf("got %d %q, want 200", w.Code, w.Body)
	}
	if err := s.SetFaults([]Fault{{Kind: "409", Percent: 101}}); err == nil {
		t.Error("101%: got no error, want one")
	}
}

// TestSlowBodyDoesNotLockTheDrive: while a client does not send its body, the drive can be used,
// and also destroyed.
func TestSlowBodyDoesNotLockTheDrive(t *testing.T) {
	r := newRig(t)
	id := r.create(100)
	c := r.dial()
	if _, err := io.WriteString(c, r.head("POST /drives/"+id+"/write", "Content-Length: 100")+"abc"); err != nil {
		t.Fatal(err)
	}
	r.want(204, "POST", "/drives/"+id+"/destroy", nil)
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil) //nolint:bodyclose // the connection is closed
	if err != nil || res.StatusCode != 404 {
		t.Errorf("got %v, %v; want 404", res, err)
	}
}
